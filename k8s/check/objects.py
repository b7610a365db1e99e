"""Rendered manifests as objects that can be asked for each other."""

import yaml


class Objects:
    """Everything that one overlay makes, and what it takes from outside by name."""

    def __init__(self, rendered, outside=()):
        self.all = [document for document in yaml.safe_load_all(rendered) if document]
        self.outside = list(outside)

    def of(self, *kinds):
        return [document for document in self.all if document["kind"] in kinds]

    def find(self, kind, name):
        same = lambda one: (one["kind"], one["metadata"]["name"]) == (kind, name)
        return next(filter(same, self.all + self.outside), None)

    def workloads(self):
        return [Workload(document) for document in self.of("Deployment", "StatefulSet")]

    def workload(self, name):
        return next((one for one in self.workloads() if one.name == name), None)

    def environment(self, container):
        """A container's variables, those of its ConfigMaps too."""
        variables = {}
        for source in container.get("envFrom", []):
            variables.update(keys(self.find("ConfigMap", source["configMapRef"]["name"])))
        variables.update({one["name"]: one["value"] for one in container.get("env", [])})
        return variables


class Workload:
    """A Deployment or StatefulSet, by what its pods are."""

    def __init__(self, document):
        self.document = document
        self.name = document["metadata"]["name"]
        self.labels = document["spec"]["template"]["metadata"]["labels"]
        self.pod = document["spec"]["template"]["spec"]

    def containers(self, init=True):
        return (self.pod.get("initContainers", []) if init else []) + self.pod["containers"]

    def port(self, wanted):
        """The number of a port that is given by name or number; None if no container has it."""
        ports = [port for container in self.containers(init=False) for port in container.get("ports", [])]
        return next((one["containerPort"] for one in ports if wanted in (one["name"], one["containerPort"])), None)


def keys(document):
    """What a ConfigMap or a Secret holds; nothing if there is none."""
    return {**(document or {}).get("data", {}), **(document or {}).get("stringData", {})}


def matches(selector, labels):
    """Whether a label selector takes these labels (Kubernetes API, LabelSelector)."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for one in selector.get("matchExpressions", []):
        if one["operator"] != "In":
            raise ValueError(f"teach k8s/check/objects.py the operator {one['operator']}")
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True
