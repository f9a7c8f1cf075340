#!/usr/bin/env bash
# Installs what a make target needs, after saying which Debian packages that is.
#
#   tests/setup.sh build|playground|test ...
#
# A program that is there already, from wherever it came, is left as it is: Docker's own packages
# and Debian's cannot be installed together.
set -euo pipefail

# program:package
build=(cc:gcc ld:binutils)
playground=(dockerd:docker.io containerd:containerd runc:runc ip:iproute2 curl:curl tshark:tshark)
test=(mosquitto:mosquitto mosquitto_pub:mosquitto-clients mmdebstrap:mmdebstrap nft:nftables ethtool:ethtool tcpdump:tcpdump
    ovs-vsctl:openvswitch-switch)

# Debian keeps daemons where only root's path leads.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

wanted=()
for set in "$@"; do
    case $set in
        build) wanted+=("${build[@]}") ;;
        playground) wanted+=("${playground[@]}") ;;
        test) wanted+=("${playground[@]}" "${test[@]}") ;;
        *) echo "setup: unknown set '$set'; use build, playground or test" >&2; exit 2 ;;
    esac
done

missing=()
for pair in "${wanted[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
# The client comes with docker.io in Debian 12 and in a package of its own later.
if [[ " ${wanted[*]} " == *" dockerd:"* ]] && ! command -v docker >/dev/null && [[ " ${missing[*]} " != *" docker.io "* ]]; then
    missing+=(docker-cli)
fi
# The libraries and headers that a C compiler alone does not bring.
if [[ " $* " == *" build "* ]] && ! [ -e /usr/include/stdio.h ]; then missing+=(libc6-dev); fi
if [[ " $* " == *" test "* ]] && ! /usr/bin/python3 -c 'import scapy' 2>/dev/null; then missing+=(python3-scapy); fi
[ ${#missing[@]} -eq 0 ] && exit 0

mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
echo "setup: installing with apt-get: ${missing[*]}"
command -v apt-get >/dev/null || { echo "setup: there is no apt-get here; install these by hand" >&2; exit 1; }
sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null </dev/null
