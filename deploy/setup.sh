#!/bin/sh
# Makes what compose.yaml needs: an authority and a certificate for the NATS nodes, a
# key for each user, a password for Grafana, into secrets/; public keys and the
# platform's URL into .env. What is there already stays.
#
#   ./setup.sh https://api.example.com/api/v1 <token-file
#
# Needs openssl and the nats command.
set -eu
umask 077
cd "$(dirname "$0")"
url=${1:?usage: ./setup.sh API_URL <token-file}
mkdir -p secrets webhooks

if [ ! -s secrets/api-token ]; then
  cat >secrets/api-token
  [ -s secrets/api-token ] || { echo "no token on standard input" >&2; exit 1; }
fi
if [ ! -s secrets/nats.crt ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj "/CN=guestflow NATS authority" \
    -keyout secrets/ca.key -out secrets/ca.crt 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=nats" \
    -keyout secrets/nats.key -out secrets/nats.csr 2>/dev/null
  printf '%s\n' "subjectAltName=DNS:nats-0,DNS:nats-1,DNS:nats-2,DNS:localhost,IP:127.0.0.1" \
    "extendedKeyUsage=serverAuth,clientAuth" "keyUsage=digitalSignature" >secrets/nats.ext
  openssl x509 -req -in secrets/nats.csr -CA secrets/ca.crt -CAkey secrets/ca.key -CAcreateserial -days 825 \
    -extfile secrets/nats.ext -out secrets/nats.crt 2>/dev/null
  rm secrets/nats.csr secrets/nats.ext
fi
[ -s secrets/grafana-password ] || openssl rand -base64 24 >secrets/grafana-password

{
  echo "GUESTFLOW_API_URL=$url"
  for user in system admin poller webhooks reader; do
    [ -s "secrets/$user.nk" ] || nats auth nkey gen user --output "secrets/$user.nk" >/dev/null
    echo "NATS_$(echo "$user" | tr a-z A-Z)=$(nats auth nkey show "secrets/$user.nk" | tail -n 1)"
  done
} >.env

# Compose mounts them as they are, for users that it does not choose; the folder keeps
# everybody else out.
chmod 0444 secrets/*
chmod 0400 secrets/ca.key
