#!/usr/bin/env bash
# Makes every password, certificate and key of a deployment with its own engines: `k8s/gen-secrets.sh [FOLDER]`.
# FOLDER is the minikube overlay's, where git does not look, unless another is named. One that is there stays.
# MICROSERVE_MAILER=smtp://… sends mails; without it they stay in the cluster.
set -euo pipefail
cd "$(dirname "$0")"

folder=${1:-overlays/minikube/secrets}
die() { printf 'gen-secrets: %s\n' "$*" >&2; exit 1; }
command -v openssl >/dev/null || die "openssl is missing: install it"
[ ! -e "$folder" ] || die "$folder is there already. Databases know its passwords: remove it only together with their data"

mkdir -p "$(dirname "$folder")"
# It gets its name when it is whole. Others are kept out by the folder: inside of it containers of any user may read.
draft=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$draft"' EXIT
keep() { # keep NAME: standard input, as this file
    mkdir -p "$draft/$(dirname "$1")"
    cat >"$draft/$1"
}
line() { printf '%s' "$2" | keep "$1"; }
password() { openssl rand -hex 24; }

auth=$(password) migration=$(password) scaler=$(password) root=$(password)

openssl genpkey -algorithm ed25519 2>/dev/null | keep auth-service-keys/1.pem
grep -q PRIVATE "$draft/auth-service-keys/1.pem" || die "this openssl makes no Ed25519 keys: install OpenSSL 1.1.1 or later"

# One certificate for the two engines that are sent passwords, which is its own authority.
cat >"$draft/request" <<'END'
[req]
distinguished_name = name
x509_extensions = server
prompt = no
[name]
CN = microserve engines
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:mysql, DNS:rabbitmq
extendedKeyUsage = serverAuth
END
openssl req -x509 -config "$draft/request" -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -keyout "$draft/tls.key" -out "$draft/tls.crt" 2>/dev/null || die "openssl made no certificate"
for engine in mysql rabbitmq; do mkdir "$draft/$engine" && cp "$draft/tls.key" "$draft/tls.crt" "$draft/$engine"; done
trust() { keep "$1/ca.pem" <"$draft/tls.crt"; }

line mysql/root-password "$root"
mysql="mysql/auth?ssl-mode=verify_identity&ssl-ca=/run/secrets/ca.pem"
line auth-service/accounts "mysql://auth-service:$auth@$mysql"
line auth-service-migration/accounts "mysql://auth-service-migration:$migration@$mysql"
trust auth-service
trust auth-service-migration
keep mysql-accounts/accounts.sql <<END
CREATE DATABASE auth CHARACTER SET utf8mb4;
CREATE USER 'auth-service-migration'@'%' IDENTIFIED BY '$migration' REQUIRE SSL;
GRANT SELECT, INSERT, UPDATE, CREATE, ALTER ON auth.* TO 'auth-service-migration'@'%';
CREATE USER 'auth-service'@'%' IDENTIFIED BY '$auth' REQUIRE SSL;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.* TO 'auth-service'@'%';
END

# Jobs are everybody's; the notifier sees no video and no MP3.
openssl rand -base64 48 | keep mongodb/keyfile
users="{\"user\": \"owner\", \"pwd\": \"$(password)\", \"roles\": [\"root\"]}"
queues='^(video|mp3)([.].*)?$'
exchange='^(amq[.]default|(video|mp3)([.].*)?)$'
brokers="{\"name\": \"scaler\", \"password\": \"$scaler\", \"tags\": \"monitoring\"}"
rights="{\"user\": \"scaler\", \"vhost\": \"microserve\", \"configure\": \"^\$\", \"write\": \"^\$\", \"read\": \"^video\$\"}"
for service in api-gateway video-to-mp3-service notification-service; do
    mongodb=$(password) rabbitmq=$(password) roles=
    databases="microserve videos mp3s"
    [ $service != notification-service ] || databases=microserve
    for database in $databases; do
        roles+="${roles:+, }{\"role\": \"readWrite\", \"db\": \"$database\"}"
    done
    users+=", {\"user\": \"$service\", \"pwd\": \"$mongodb\", \"roles\": [$roles]}"
    brokers+=", {\"name\": \"$service\", \"password\": \"$rabbitmq\", \"tags\": \"\"}"
    rights+=", {\"user\": \"$service\", \"vhost\": \"microserve\", \"configure\": \"$queues\","
    rights+=" \"write\": \"$exchange\", \"read\": \"$queues\"}"
    # MongoDB is sent no password, only a proof of it (SCRAM), so it does without TLS between pods.
    line $service/mongodb "mongodb://$service:$mongodb@mongodb/?replicaSet=rs0&tls=false&authSource=admin"
    line $service/rabbitmq "amqps://$service:$rabbitmq@rabbitmq/microserve?ca=/run/secrets/ca.pem"
    trust $service
done
line mongodb/accounts.json "[$users]"
line rabbitmq/definitions.json \
    "{\"vhosts\": [{\"name\": \"microserve\"}], \"users\": [$brokers], \"permissions\": [$rights]}"
line video-to-mp3-scaler/host "http://scaler:$scaler@rabbitmq:15672/microserve"
line notification-service/mailer "${MICROSERVE_MAILER:-smtp://mail-sink:1025?tls=none}"

rm "$draft/request" "$draft/tls.key" "$draft/tls.crt"
chmod -R go=rX "$draft"/*
chmod 700 "$draft"
mv "$draft" "$folder"
printf 'made %s\n' "$folder" >&2
