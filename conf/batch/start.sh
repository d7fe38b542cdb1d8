#!/usr/bin/env bash
# Start task of a node: installs the package that lies beside this script, from its files alone.
#
#   start.sh PACKAGE
#
# Beside it: evensplit's wheel, constraints.txt, and the wheels of pip and of everything evensplit needs
# for the node's Python (`make package` collects them). Nothing is fetched, so what works today works
# next month. Runs again on every reboot; a stamp, made last, says that there is nothing to do. Data Factory's
# command lines name no package: they take evensplit/current.
#
# No root is needed: all users of a node may write its shared folder, the pool's own user is enough
# (https://learn.microsoft.com/azure/batch/batch-compute-node-environment-variables, AZ_BATCH_NODE_SHARED_DIR;
# https://learn.microsoft.com/azure/batch/batch-user-accounts).
set -euo pipefail
umask 022  # users of other tasks run what is installed

package=${1:?name of the package}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${AZ_BATCH_NODE_SHARED_DIR:?set by Azure Batch}/evensplit/$package
python=${EVENSPLIT_PYTHON:-python3}

if [[ -e $target/.installed ]]; then
    echo "$package is installed"
    exit 0
fi
pips=("$here"/pip-*.whl)
if [[ ! -e ${pips[0]} || ! -e $here/constraints.txt ]]; then
    echo "no wheel of pip, or no constraints.txt, beside start.sh: make the package anew" >&2
    exit 2
fi

# A system's Python often comes without ensurepip; a wheel of pip runs as it is.
"$python" -m venv --clear --without-pip "$target"
"$target/bin/python" "${pips[0]}/pip" install --quiet --disable-pip-version-check --no-cache-dir \
    --no-index --find-links "$here" --constraint "$here/constraints.txt" evensplit
"$target/bin/evensplit" --version
ln -sfn "$package" "${target%/*}/current"
touch "$target/.installed"
