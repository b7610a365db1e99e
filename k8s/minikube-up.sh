#!/usr/bin/env bash
# From nothing to an MP3 on minikube: starts it if need be, builds the images in it, makes the secrets, applies the
# overlay, waits, and walks the README's way with curl: `k8s/minikube-up.sh [VIDEO]`. Does no harm when run again.
set -euo pipefail
cd "$(dirname "$0")/.."

video=${1:-examples/media/sample.mp4}
overlay=k8s/overlays/minikube
up=k8s/overlays/.minikube-up
say() { printf '\n== %s\n' "$*"; }
die() { printf 'minikube-up: %s\n' "$*" >&2; exit 1; }
for command in minikube kubectl openssl curl git; do
    command -v "$command" >/dev/null || die "$command is missing: install it"
done
[ -r "$video" ] || die "there is no video $video"
kube() { kubectl --context minikube "$@"; }

say "cluster"
# Calico, because what minikube brings does not enforce NetworkPolicies.
minikube status >/dev/null 2>&1 || minikube start --cni=calico --cpus=4 --memory=6g
minikube addons enable ingress

say "images"
# A name of its own for each state of the source: one in use is not replaced.
tag=$(git rev-parse --short HEAD)
[ -z "$(git status --porcelain -- . ':!k8s')" ] || tag+=-$(date +%s)
services=(auth-service api-gateway video-to-mp3-service notification-service)
for service in "${services[@]}"; do
    minikube image build -t "localhost/microserve/$service:$tag" -f k8s/image/Containerfile --build-opt=target="$service" .
done

say "secrets"
[ -e "$overlay/secrets" ] || k8s/gen-secrets.sh

say "manifests"
mkdir -p "$up"
{
    printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../minikube]\nimages:\n'
    for service in "${services[@]}"; do
        printf -- '  - {name: localhost/microserve/%s, newTag: "%s"}\n' "$service" "$tag"
    done
} >"$up/kustomization.yaml"
kube apply --kustomize "$up"
for engine in mysql mongodb rabbitmq; do
    kube --namespace microserve rollout status --timeout=10m "statefulset/$engine"
done
for service in "${services[@]}" mail-sink; do
    kube --namespace microserve rollout status --timeout=5m "deployment/$service"
done

say "smoke test"
export EMAIL=you-$RANDOM$RANDOM@example.com PASSWORD
PASSWORD=$(openssl rand -hex 12)
kube --namespace microserve exec -i deployment/auth-service -c auth-service -- \
    /microserve-auth user add "$EMAIL" --password-stdin <<<"$PASSWORD"
work=$(mktemp -d)
# By a port-forward: the way through an ingress is another on each system (k8s/README.md).
kube --namespace microserve port-forward service/api-gateway 18080:8080 >"$work/log" 2>&1 &
forward=$!
trap 'kill "$forward" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 60); do
    ! grep -q Forwarding "$work/log" || break
    sleep 0.5
done
cp "$video" "$work/video.mkv"
printf 'connect-to = "mp3converter.com:80:127.0.0.1:18080"\nfail\nsilent\nshow-error\nnoproxy = "*"\n' >"$work/.curlrc"
export CURL_HOME=$work
lines=()
while IFS= read -r line; do lines+=("$line"); done < <(sed -n '/<!-- quickstart -->/,/^```$/p' README.md | grep '^curl')
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
TOKEN=$(cd "$work" && bash -c "${lines[0]}" | field token)
export TOKEN
job=$(cd "$work" && bash -c "${lines[1]}" | field job_id)
[ -n "$job" ] || die "the upload was not accepted"
FID=
for _ in $(seq 240); do
    FID=$(curl -H "Authorization: Bearer $TOKEN" "http://mp3converter.com/jobs/$job" | field mp3_fid)
    [ -z "$FID" ] || break
    sleep 0.5
done
export FID
[ -n "$FID" ] || die "no MP3: kubectl -n microserve logs deployment/video-to-mp3-service"
(cd "$work" && bash -c "${lines[2]}")
mv "$work/mp3_download.mp3" .
say "done: ./mp3_download.mp3"
printf 'account: %s %s\nmails: kubectl -n microserve port-forward service/mail-sink 8025, then http://127.0.0.1:8025\n' \
    "$EMAIL" "$PASSWORD"
