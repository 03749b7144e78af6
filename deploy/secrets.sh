#!/bin/sh
# Makes the secrets of compose.yaml in a folder, each once: what is there stays. `deploy/secrets.sh FOLDER [DATABASE_HOST]`
# Containers run as other users than yours: the files are for everybody to read, the folder for you alone to enter.
set -eu
folder=${1:?name a folder for the secrets}
host=${2:-postgres}
umask 077
mkdir -p "$folder/trusted"

random() { od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }
make() { # NAME VALUE: keeps what is there
    [ -s "$folder/$1" ] && return
    printf '%s\n' "$2" >"$folder/.$1.part"
    mv "$folder/.$1.part" "$folder/$1"
}

make database_password "$(random 24)"
make database_url "postgresql://flytewheel:$(cat "$folder/database_password")@$host:5432/flytewheel"
make s3_access_key "$(random 10)"
make s3_secret_key "$(random 20)"
make admin_key "$(random 32)"
make assignment_key "$(random 32)"
make grafana_password "$(random 16)"
make metrics_key "replace by: flytewheel keys create --scope read --name prometheus"
find "$folder" -type f -exec chmod 0444 {} +
chmod 0755 "$folder/trusted"
echo "secrets are in $folder; the public keys that sign versions go into $folder/trusted"
