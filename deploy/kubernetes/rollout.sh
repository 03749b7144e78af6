#!/bin/sh
# One release onto a cluster: migrations, the Deployment's own surge, a smoke test, and the release before where one fails.
# deploy/kubernetes/rollout.sh OVERLAY URL MODEL KEY_FILE        needs kubectl and python3; KEY_FILE holds a key for URL
set -eu
overlay=${1:?name an overlay: development, staging or production}
url=${2:?name the URL that users come in by}
model=${3:?name a model to ask}
key=${4:?name the file of a key}
here=$(dirname "$0")
namespace=flytewheel-$overlay
revision='jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision}'
run() { kubectl --namespace "$namespace" "$@"; }

before=$(run get deployment flytewheel-router --ignore-not-found -o "$revision")
run delete job flytewheel-migrate --ignore-not-found --wait
manifests=$(kubectl kustomize "$here/overlays/$overlay")
printf '%s\n' "$manifests" | python3 "$here/pick.py" --only ServiceAccount,ConfigMap,NetworkPolicy,Job | kubectl apply -f -
run wait --for=condition=complete --timeout=1800s job/flytewheel-migrate
printf '%s\n' "$manifests" | kubectl apply -f -
if run rollout status deployment/flytewheel-router --timeout=1200s \
    && python3 "$here/../smoke.py" "$url" --model "$model" --key-file "$key"; then
    echo "$overlay serves the new release"
    exit 0
fi
if [ -n "$before" ]; then
    run rollout undo deployment/flytewheel-router --to-revision="$before"
    run rollout status deployment/flytewheel-router --timeout=1200s
    echo "error: the release did not hold; revision $before serves again" >&2
else
    echo "error: the first release did not come up; nothing was there before" >&2
fi
exit 1
