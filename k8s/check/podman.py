#!/usr/bin/env python3
"""How podman runs a container of the rendered manifests, as they secure it: `podman.py RENDERED SECRETS NAME [CONTAINER]`.

Prints the arguments of `podman run`, a line each, image and arguments last. SECRETS is the folder that gen-secrets.sh
made: the Secrets' files are mounted from there. CONTAINER is the pod's first unless named. What podman has no word for
(probes, seccomp by name, a limit of the disk) is left out, or is its default.
"""

import pathlib
import re
import sys

from objects import Objects

UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def main():
    rendered, secrets, name, *container = sys.argv[1:]
    objects = Objects(pathlib.Path(rendered).read_text())
    workload = objects.workload(name)
    chosen = [one for one in workload.containers() if one["name"] == (container or [name])[0]]
    print("\n".join(arguments(objects, workload.pod, chosen[0], pathlib.Path(secrets).resolve())))


def arguments(objects, pod, container, secrets):
    context, own = pod["securityContext"], container["securityContext"]
    yield f"--user={context['runAsUser']}:{context['runAsGroup']}"
    yield f"--read-only={str(own['readOnlyRootFilesystem']).lower()}"
    # podman puts writable folders into read-only containers unless it is told not to.
    yield "--read-only-tmpfs=false"
    yield from (f"--cap-drop={capability}" for capability in own["capabilities"]["drop"])
    if own["allowPrivilegeEscalation"] is False:
        yield "--security-opt=no-new-privileges"
    limits = container["resources"]["limits"]
    yield f"--memory={in_bytes(limits['memory'])}"
    if "cpu" in limits:
        yield f"--cpus={limits['cpu']}"
    for name, value in objects.environment(container).items():
        yield f"--env={name}={value}"
    for mount in container["volumeMounts"]:
        yield from mounted(mount, next((one for one in pod["volumes"] if one["name"] == mount["name"]), None), secrets)
    yield container["image"]
    yield from container.get("command", []) + container.get("args", [])


def mounted(mount, volume, secrets):
    path = mount["mountPath"]
    if volume and "emptyDir" in volume:
        yield f"--tmpfs={path}:rw,mode=1777,size={in_bytes(volume['emptyDir']['sizeLimit'])}"
    elif volume and "secret" in volume:
        # The name ends with a hash of what is in it.
        name = re.sub(r"-[a-z0-9]{10}$", "", volume["secret"]["secretName"])
        yield f"--volume={secrets / name}:{path}:ro"


def in_bytes(text):
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", str(text)).groups()
    return int(number) * UNITS.get(unit, 1)


if __name__ == "__main__":
    main()
