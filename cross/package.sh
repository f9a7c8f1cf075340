#!/usr/bin/env bash
# Packs programs that are built already into Debian packages, and into an update for kc update.
#
#   cross/package.sh PROGRAMS ARCH OUT [VERSION]    such as: cross/package.sh target/cross/aarch64 arm64 dist
#
# kcluster-agent is for every box, kcluster-controller for one machine; the .update.tar is the agent and
# its forwarder for boxes that run already, and wants a signature (minisign -S -m FILE). VERSION is that of
# the sources unless given, such as 0.1.0+lab1. Prints what it made.
set -euo pipefail
[ $# = 3 ] || [ $# = 4 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
programs=$(realpath "$1") arch=$2
mkdir -p "$3"; out=$(realpath "$3")
case $arch in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; armhf) machine=arm ;; *) echo "package: unknown architecture '$arch'; use amd64, arm64 or armhf" >&2; exit 2 ;; esac
cd "$(dirname "$0")/packages"
version=${4:-$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' ../../Cargo.toml)}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# pack NAME UNIT CONFIGURATION PROGRAM...
pack() {
    local name=$1 unit=$2 configuration=$3 root=$work/$1; shift 3
    for program in "$@"; do
        [ -x "$programs/$program" ] || { echo "package: no $program in $programs" >&2; exit 1; }
        install -D -m 755 "$programs/$program" "$root/usr/bin/$program"
    done
    install -D -m 644 "$name/$unit" "$root/usr/lib/systemd/system/$unit"
    # Passwords may stand there.
    install -D -m 640 "$name/$configuration" "$root/etc/kcluster/$configuration"
    if [ -e "$name/function-image" ]; then install -D "$name/function-image" "$root/usr/lib/kcluster/function-image"; fi
    # Keys of those who may update the agent.
    if [ "$name" = kcluster-agent ]; then install -d -m 755 "$root/etc/kcluster/trust.d"; fi
    install -d "$root/DEBIAN"
    sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" "$name/control" >"$root/DEBIAN/control"
    install -m 644 "$name/conffiles" "$root/DEBIAN/"
    for script in postinst prerm postrm; do install -m 755 "$name/$script" "$root/DEBIAN/"; done
    dpkg-deb --build --root-owner-group -Zxz -z2 "$root" "$out/${name}_${version}_$arch.deb" >/dev/null
    echo "$out/${name}_${version}_$arch.deb"
}

pack kcluster-agent kc-agent.service agent.toml kc-agent kc-forwarder kc-function
pack kcluster-controller kc-controller.service controller.env kc-controller kc

# Plain, flat and in this order: the agent takes nothing else.
update=$out/kcluster-agent_${version}_$arch.update.tar
install -d "$work/update"
printf '{"format":1,"version":"%s","arch":"%s"}\n' "$version" "$machine" >"$work/update/manifest.json"
install -m 755 "$programs/kc-agent" "$programs/kc-forwarder" "$work/update/"
tar --format=ustar --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$work/update" \
    -cf "$update" manifest.json kc-agent kc-forwarder
echo "$update"
