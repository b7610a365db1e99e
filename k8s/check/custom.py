"""The shapes of what extends Kubernetes, as far as we use it: its own schemas don't know them."""

import jsonschema

STRING, NUMBER = {"type": "string"}, {"type": "integer"}
STRINGS = {"type": "object", "additionalProperties": STRING}


def shape(required, **optional):
    """An object with these fields and no others."""
    fields = {**required, **optional}
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


def several(items):
    return {"type": "array", "items": items, "minItems": 1}


SECRET_KEY = shape({"parameter": STRING, "name": STRING, "key": STRING})
TRIGGER = shape({"type": STRING, "metadata": STRINGS, "authenticationRef": shape({"name": STRING})})
SCALE_POLICY = shape({"type": STRING, "value": NUMBER, "periodSeconds": NUMBER})
BEHAVIOR = shape({"scaleDown": shape({"stabilizationWindowSeconds": NUMBER, "policies": several(SCALE_POLICY)})})
PATH = shape({"path": shape({"type": {"enum": ["PathPrefix"]}, "value": STRING})})
EXPRESSION = shape({"key": STRING, "operator": {"enum": ["In"]}, "values": several(STRING)})
ENDPOINT = shape({"port": STRING, "path": STRING, "interval": STRING})
ALERT = shape({"alert": STRING, "expr": STRING, "labels": STRINGS, "annotations": STRINGS}, **{"for": STRING})

SPECS = {
    ("keda.sh/v1alpha1", "TriggerAuthentication"): shape({"secretTargetRef": several(SECRET_KEY)}),
    ("keda.sh/v1alpha1", "ScaledObject"): shape(
        {"scaleTargetRef": shape({"name": STRING}), "triggers": several(TRIGGER)},
        minReplicaCount=NUMBER,
        maxReplicaCount=NUMBER,
        cooldownPeriod=NUMBER,
        advanced=shape({"horizontalPodAutoscalerConfig": shape({"behavior": BEHAVIOR})}),
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): shape(
        {
            "parentRefs": several(shape({"name": STRING}, namespace=STRING)),
            "hostnames": several(STRING),
            "rules": several(
                shape(
                    {"backendRefs": several(shape({"name": STRING, "port": NUMBER}))},
                    matches=several(PATH),
                    timeouts=shape({"request": STRING}),
                )
            ),
        }
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): shape(
        {"selector": shape({"matchExpressions": several(EXPRESSION)}), "podMetricsEndpoints": several(ENDPOINT)}
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): shape(
        {"groups": several(shape({"name": STRING, "rules": several(ALERT)}))}
    ),
}


def is_custom(document):
    return (document["apiVersion"], document["kind"]) in SPECS


def complaints(document):
    schema = SPECS[document["apiVersion"], document["kind"]]
    for error in jsonschema.Draft202012Validator(schema).iter_errors(document["spec"]):
        yield f"{error.json_path}: {error.message}"
