"""Who can reach whom, by the NetworkPolicies alone: exactly what the table says."""

import ipaddress

from objects import matches

WORKERS = ("api-gateway", "video-to-mp3-service", "notification-service")
# An address of nobody's on the internet, and one inside.
INTERNET, PRIVATE = "203.0.113.1", "10.1.2.3"

BASE = {("api-gateway", "auth-service", 5000)}
OWN = {("auth-service", "mysql", 3306), ("notification-service", "mail-sink", 1025)}
OWN |= {(client, *server) for client in WORKERS for server in (("mongodb", 27017), ("rabbitmq", 5671))}
OTHERS = {("auth-service", PRIVATE, 3306)}
OTHERS |= {("notification-service", address, port) for address in (INTERNET, PRIVATE) for port in (465, 587)}
OTHERS |= {(client, PRIVATE, port) for client in WORKERS for port in (27017, 5671)}
# Anybody may come here, from outside too.
OPEN = {("api-gateway", 8080), ("mail-sink", 8025)}

WORLD_PORTS = (25, 80, 443, 465, 587, 3306, 5671, 5672, 15672, 27017)


def wrong_flows(objects, expected):
    """What is allowed and not expected, or expected and cut off: among pods, to the world and from it."""
    pods = objects.workloads()
    doors = sorted((pod, port) for pod in [p.name for p in pods] for port in ports(objects.workload(pod)))
    flows = {}
    for client in pods:
        for server, port in doors:
            target = objects.workload(server)
            allowed = allows(objects, "Egress", client, target, port) and allows(objects, "Ingress", target, client, port)
            # A pod always reaches itself.
            flows[client.name, server, port] = allowed and server != client.name and (server, port) not in OPEN
        for address in (INTERNET, PRIVATE):
            for port in WORLD_PORTS:
                flows[client.name, address, port] = allows(objects, "Egress", client, address, port)
    for flow in sorted(flows.keys() | expected):
        if flows.get(flow, False) != (flow in expected):
            yield "{} to {}:{} is ".format(*flow) + ("cut off" if flow in expected else "allowed")
    for server, port in doors:
        if allows(objects, "Ingress", objects.workload(server), INTERNET, port) != ((server, port) in OPEN):
            yield f"from outside to {server}:{port}: not as it should be"


def ports(workload):
    return [port["containerPort"] for one in workload.containers(init=False) for port in one["ports"]]


def allows(objects, direction, pod, peer, port):
    """Whether the policies of a pod let it speak to, or hear, the peer: a workload or an address."""
    rules, selected = [], False
    for policy in objects.of("NetworkPolicy"):
        spec = policy["spec"]
        if direction in spec["policyTypes"] and matches(spec["podSelector"], pod.labels):
            selected = True
            rules += spec.get(direction.lower(), [])
    server, peers = (pod, "from") if direction == "Ingress" else (peer, "to")
    fits = lambda rule: is_port(rule.get("ports"), server, port) and is_peer(rule.get(peers), peer)
    return not selected or any(map(fits, rules))


def is_port(allowed, server, port):
    if allowed is None:
        return True
    number = lambda wanted: wanted if isinstance(wanted, int) else server.port(wanted)
    return any(one.get("protocol", "TCP") == "TCP" and number(one["port"]) == port for one in allowed)


def is_peer(allowed, peer):
    if allowed is None:
        return True
    if isinstance(peer, str):
        blocks = [ipaddress.ip_network(one["ipBlock"]["cidr"]) for one in allowed if "ipBlock" in one]
        return any(ipaddress.ip_address(peer) in block for block in blocks)
    # Those of other namespaces are nobody here.
    own = [one["podSelector"] for one in allowed if "podSelector" in one and "namespaceSelector" not in one]
    return any(matches(selector, peer.labels) for selector in own)
