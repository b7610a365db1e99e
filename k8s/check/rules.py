"""What has to hold in every overlay beyond the schema. A rule yields what is wrong, in words."""

from objects import keys, matches


def every_name_is_unique_and_in_the_namespace(objects):
    seen = set()
    for document in objects.all:
        name = (document["kind"], document["metadata"]["name"])
        if name in seen:
            yield f"{name} is there twice"
        if document["kind"] != "Namespace" and document["metadata"].get("namespace") != "microserve":
            yield f"{name} is outside of the namespace"
        seen.add(name)


def whatever_a_pod_takes_is_there(objects):
    for workload in objects.workloads():
        volumes = {volume["name"] for volume in workload.pod["volumes"]}
        volumes |= {one["metadata"]["name"] for one in workload.document["spec"].get("volumeClaimTemplates", [])}
        wanted = [("ServiceAccount", workload.pod["serviceAccountName"])]
        wanted += [("Secret", one["secret"]["secretName"]) for one in workload.pod["volumes"] if "secret" in one]
        wanted += [("ConfigMap", one["configMap"]["name"]) for one in workload.pod["volumes"] if "configMap" in one]
        for container in workload.containers():
            wanted += [("ConfigMap", source["configMapRef"]["name"]) for source in container.get("envFrom", [])]
            for mount in container["volumeMounts"]:
                if mount["name"] not in volumes:
                    yield f"{workload.name}: no volume {mount['name']}"
        for kind, name in wanted:
            if not objects.find(kind, name):
                yield f"{workload.name}: no {kind} {name}"
    for document in objects.of("TriggerAuthentication"):
        for one in document["spec"]["secretTargetRef"]:
            if one["key"] not in keys(objects.find("Secret", one["name"])):
                yield f"TriggerAuthentication {document['metadata']['name']}: no Secret {one['name']} with {one['key']}"


def every_file_that_a_variable_names_is_mounted(objects):
    for workload in objects.workloads():
        secrets = {one["name"]: one["secret"]["secretName"] for one in workload.pod["volumes"] if "secret" in one}
        for container in workload.containers():
            mounts = {mount["mountPath"]: secrets.get(mount["name"]) for mount in container["volumeMounts"]}
            for name, path in objects.environment(container).items():
                folder, _, file = path.rpartition("/")
                if name.endswith("_FILE") and file not in keys(objects.find("Secret", mounts.get(folder))):
                    yield f"{workload.name}: {name} names {path}, which no Secret brings"


def pods_are_restricted(objects):
    """Pod Security Standards, "Restricted", and what we ask for beyond it."""
    for workload in objects.workloads():
        pod, context = workload.pod, workload.pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{workload.name} may run as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{workload.name} has no seccomp profile"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{workload.name} has a token of the cluster"
        if pod.get("enableServiceLinks") is not False:
            yield f"{workload.name} takes Services for settings"
        if any(pod.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{workload.name} shares a namespace of the node"
        for volume in pod["volumes"]:
            if not {"secret", "configMap", "emptyDir"} & volume.keys():
                yield f"{workload.name} has a volume of another kind: {volume}"
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{workload.name}: the volume {volume['name']} has no limit"
        for container in workload.containers():
            wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
            if container.get("securityContext") != {**wanted, "capabilities": {"drop": ["ALL"]}}:
                yield f"{workload.name}: {container['name']} may do too much"


def containers_say_what_they_need(objects):
    for workload in objects.workloads():
        for container in workload.containers():
            resources = container.get("resources", {})
            requests, limits = resources.get("requests", {}), resources.get("limits", {})
            if not {"cpu", "memory"} <= requests.keys() or "memory" not in limits:
                yield f"{workload.name}: {container['name']} lacks requests or a limit of memory"
            place, _, name = container["image"].rpartition("/")
            if not place or name.partition(":")[2] in ("", "latest") or container["imagePullPolicy"] != "IfNotPresent":
                yield f"{workload.name}: {container['image']} may be another one tomorrow"


def probes_ask_ports_that_there_are(objects):
    for workload in objects.workloads():
        for container in workload.containers(init=False):
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container.get(kind, {})
                asked = probe.get("httpGet") or probe.get("tcpSocket")
                if not probe or (asked and workload.port(asked["port"]) is None):
                    yield f"{workload.name}: {kind} is missing, or its port"


def services_stop_within_their_grace_period(objects):
    for workload in objects.workloads():
        for container in workload.containers(init=False):
            grace = int(objects.environment(container).get("MICROSERVE_GRACE", "0s").removesuffix("s"))
            before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if grace + before >= workload.pod.get("terminationGracePeriodSeconds", 30):
                yield f"{workload.name} is killed before MICROSERVE_GRACE is over"


def selectors_find_pods(objects):
    pods = objects.workloads()
    for pod in pods:
        if not matches(pod.document["spec"]["selector"], pod.labels):
            yield f"{pod.name} selects other pods"
    for document in objects.of("Service"):
        spec = document["spec"]
        chosen = [pod for pod in pods if matches({"matchLabels": spec["selector"]}, pod.labels)]
        if len(chosen) != 1 or any(chosen[0].port(port["targetPort"]) is None for port in spec["ports"]):
            yield f"Service {document['metadata']['name']}: no pod, or none with its ports"
    for document in objects.of("PodDisruptionBudget", "NetworkPolicy"):
        selector = document["spec"].get("selector", document["spec"].get("podSelector"))
        if not any(matches(selector, pod.labels) for pod in pods):
            yield f"{document['kind']} {document['metadata']['name']}: no pod"
    for document in objects.of("StatefulSet"):
        if not objects.find("Service", document["spec"]["serviceName"]):
            yield f"StatefulSet {document['metadata']['name']}: no Service"


def routes_lead_to_services(objects):
    backends = []
    for document in objects.of("Ingress"):
        for rule in document["spec"]["rules"]:
            services = [path["backend"]["service"] for path in rule["http"]["paths"]]
            backends += [(service["name"], service["port"]["name"]) for service in services]
        for one in document["spec"].get("tls", []):
            if not objects.find("Secret", one["secretName"]):
                yield f"no Secret {one['secretName']}"
    for document in objects.of("HTTPRoute"):
        for rule in document["spec"]["rules"]:
            backends += [(one["name"], one["port"]) for one in rule["backendRefs"]]
    if not backends:
        yield "nobody is let in"
    for name, port in backends:
        ports = (objects.find("Service", name) or {"spec": {"ports": []}})["spec"]["ports"]
        if not any(port in (one["name"], one["port"]) for one in ports):
            yield f"a route leads to {name}:{port}, which is not there"


def whatever_is_scaled_has_no_fixed_count(objects):
    for document in objects.of("HorizontalPodAutoscaler", "ScaledObject"):
        target = objects.workload(document["spec"]["scaleTargetRef"]["name"])
        if not target or "replicas" in target.document["spec"]:
            yield f"{document['kind']} {document['metadata']['name']}: no target, or one with a count"


RULES = [
    every_name_is_unique_and_in_the_namespace,
    whatever_a_pod_takes_is_there,
    every_file_that_a_variable_names_is_mounted,
    pods_are_restricted,
    containers_say_what_they_need,
    probes_ask_ports_that_there_are,
    services_stop_within_their_grace_period,
    selectors_find_pods,
    routes_lead_to_services,
    whatever_is_scaled_has_no_fixed_count,
]
