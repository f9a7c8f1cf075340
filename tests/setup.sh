#!/usr/bin/env bash
# Installs what a make target needs, after saying which Debian packages that is.
#
#   tests/setup.sh build|playground|mosquitto|test|bench|fuzz ...
#
# A program that is there already, from wherever it came, is left as it is: Docker's own packages
# and Debian's cannot be installed together.
set -euo pipefail

# program:package
build=(cc:gcc ld:binutils)
fuzz=(c++:g++)
playground=(dockerd:docker.io containerd:containerd runc:runc ip:iproute2 curl:curl tshark:tshark)
mosquitto=(mosquitto:mosquitto)
test=(mmdebstrap:mmdebstrap ethtool:ethtool kill:procps ping:iputils-ping python3:python3
    ovs-vswitchd:openvswitch-switch scapy:python3-scapy setpriv:util-linux
    nft:nftables haproxy:haproxy iperf3:iperf3 docker-registry:docker-registry docker-compose:docker-compose)

# Compilers and libraries of the instruments, and the peers; one that is not there is skipped by name.
bench=(cc:gcc ld:binutils clang:clang ip:iproute2 ethtool:ethtool setpriv:util-linux taskset:util-linux
    chrt:util-linux sysctl:procps ovs-vswitchd:openvswitch-switch mosquitto_sub:mosquitto-clients)

# Debian keeps daemons where only root's path leads.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

wanted=()
for set in "$@"; do
    case $set in
        build) wanted+=("${build[@]}") ;;
        playground) wanted+=("${playground[@]}") ;;
        mosquitto) wanted+=("${mosquitto[@]}") ;;
        test) wanted+=("${playground[@]}" "${mosquitto[@]}" "${test[@]}") ;;
        bench) wanted+=("${bench[@]}") ;;
        fuzz) wanted+=("${fuzz[@]}") ;;
        *) echo "setup: unknown set '$set'; use build, playground, mosquitto, test, bench or fuzz" >&2; exit 2 ;;
    esac
done

missing=()
for pair in "${wanted[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
# The libraries and headers that a C compiler alone does not bring.
if [[ " $* " == *" build "* ]] && ! [ -e /usr/include/stdio.h ]; then missing+=(libc6-dev); fi
# What signs Debian's archive, where another distribution runs: mmdebstrap makes Debian from it.
if [[ " $* " == *" test "* ]] && ! [ -e /usr/share/keyrings/debian-archive-trixie-stable.gpg ]; then
    missing+=(debian-archive-keyring)
fi
if [[ " $* " == *" bench "* ]]; then
    [ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
    [ -e /usr/include/bpf/libbpf.h ] || missing+=(libbpf-dev)
    [ -e /usr/include/xdp/xsk.h ] || missing+=(libxdp-dev)
fi
[ ${#missing[@]} -eq 0 ] && exit 0

mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
echo "setup: installing with apt-get: ${missing[*]}"
command -v apt-get >/dev/null || { echo "setup: there is no apt-get here; install these by hand" >&2; exit 1; }
sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null </dev/null; }
$sudo apt-get update -qq
install "${missing[@]}"
# Docker's client comes with its engine in Debian 12, and in a package of its own later.
if [[ " ${missing[*]} " == *" docker.io "* ]] && ! command -v docker >/dev/null; then
    echo "setup: installing with apt-get: docker-cli"
    install docker-cli
fi
