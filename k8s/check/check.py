#!/usr/bin/env python3
"""Looks through what the overlays render to: `check.py --programs FOLDER NAME=FILE…`.

Names that begin with `minikube` bring their own engines, others don't. FOLDER has the services' programs, which say by
--help which variables they know.
"""

import argparse
import pathlib
import re
import subprocess
import sys

import kubernetes_validate
import yaml

import custom
import flows
from objects import Objects
from rules import RULES

# The newest that there are schemas for, and the oldest that lets a container sleep before it stops.
VERSIONS = ("1.36", "1.30")
PROGRAMS = {
    "auth-service": "auth",
    "api-gateway": "gateway",
    "video-to-mp3-service": "converter",
    "notification-service": "notifier",
}
EXTERNAL = pathlib.Path(__file__).parent.parent / "overlays/production/secrets.example.yaml"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    parser.add_argument("rendered", nargs="+")
    arguments = parser.parse_args()
    known = {service: variables(arguments.programs / f"microserve-{name}") for service, name in PROGRAMS.items()}
    wrong = 0
    for name, path in (one.split("=", 1) for one in arguments.rendered):
        own = name.startswith("minikube")
        objects = Objects(pathlib.Path(path).read_text(), [] if own else yaml.safe_load_all(EXTERNAL.read_text()))
        findings = list(schema_errors(objects))
        findings += flows.wrong_flows(objects, flows.BASE | (flows.OWN if own else flows.OTHERS))
        findings += [finding for rule in RULES for finding in rule(objects)]
        findings += unknown_variables(objects, known)
        for finding in findings:
            print(f"{name}: {finding}")
        wrong += len(findings)
        print(f"{name}: {len(objects.all)} objects, {len(findings)} findings")
    sys.exit(1 if wrong else 0)


def schema_errors(objects):
    for document in objects.all:
        who = f"{document['kind']} {document['metadata']['name']}"
        if custom.is_custom(document):
            yield from (f"{who}: {complaint}" for complaint in custom.complaints(document))
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                yield f"{who}: Kubernetes {version}: {error}"


def variables(program):
    """The variables in a program's help, and for each the one that names a file."""
    told = ""
    for subcommand in ["serve"], ["migrate"]:
        command = [program, *(subcommand if program.name == "microserve-auth" else []), "--help"]
        told += subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = set(re.findall(r"env:\s+(MICROSERVE_\w+)", told))
    return names | {f"{name}_FILE" for name in names}


def unknown_variables(objects, known):
    for workload in objects.workloads():
        for container in workload.containers() if workload.name in known else []:
            for name in objects.environment(container).keys() - known[workload.name]:
                yield f"{workload.name}: the program knows no {name}"


if __name__ == "__main__":
    main()
