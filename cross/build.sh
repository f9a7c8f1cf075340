#!/usr/bin/env bash
# Builds every program for the Pi and runs each under qemu-user.
#
#   cross/build.sh [armv7|aarch64|x86_64 ...]      default: armv7 aarch64
#
# The compiler's standard library for a target comes from rustup. Where rustup cannot fetch it,
# Debian's own rustc and its libraries for that architecture are unpacked below target/ and used
# instead, without installing them. Results: target/cross/<arch>/, and Debian packages of them in
# target/cross/; sizes printed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

programs=(kc-forwarder kc-function kc-agent kc-controller kc)
packages=(-p kc-forwarder -p kc-function -p kc-controller)
profile=${PROFILE:-dist}
# What is always there and has little to do is built for size.
small=$profile; [ "$profile" != dist ] || small=dist-small
out=${CARGO_TARGET_DIR:-target}/cross

triple() {
    case $1 in
        armv7) echo armv7-unknown-linux-gnueabihf ;;
        aarch64) echo aarch64-unknown-linux-gnu ;;
        x86_64) echo x86_64-unknown-linux-gnu ;;
        *) echo "cross: unknown architecture '$1'; use armv7, aarch64 or x86_64" >&2; exit 2 ;;
    esac
}

# Debian's names: architecture, cross gcc prefix, qemu, compiler package.
debian() { case $1 in armv7) echo armhf ;; aarch64) echo arm64 ;; x86_64) echo amd64 ;; esac; }
gnu() { case $1 in armv7) echo arm-linux-gnueabihf ;; aarch64) echo aarch64-linux-gnu ;; x86_64) echo x86_64-linux-gnu ;; esac; }
qemu() { case $1 in armv7) echo "qemu-arm-static -L /usr/arm-linux-gnueabihf" ;; aarch64) echo "qemu-aarch64-static -L /usr/aarch64-linux-gnu" ;; x86_64) echo "" ;; esac; }

install_tools() {
    local wanted=() arch
    for arch in "$@"; do
        case $arch in
            armv7) wanted+=(gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user-static) ;;
            aarch64) wanted+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static) ;;
        esac
    done
    local missing=() package
    for package in "${wanted[@]}"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "cross: installing ${missing[*]}"
    local sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Debian's rustc with its libraries for $1, unpacked into a prefix; prints a wrapper to use as RUSTC.
debian_rustc() {
    local arch=$1 prefix apt
    prefix=$(realpath -m "$out/debian-rustc"); apt=$prefix/apt
    if [ ! -x "$prefix/rustc-$arch" ]; then
        mkdir -p "$apt"/{lists/partial,cache/archives/partial,debs}
        local mirror security
        mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 -E '/debian/?$')
        [ -n "$mirror" ] || { echo "cross: no Debian mirror in /etc/apt, so no other compiler to be had" >&2; exit 1; }
        mirror=${mirror%/}; security=$mirror-security
        {
            echo "deb [arch=amd64 trusted=yes] ${security} bookworm-security main"
            echo "deb [arch=arm64,armhf trusted=yes] ${mirror} trixie main"
        } > "$apt/sources.list"
        local options=(-o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$apt/lists"
            -o "Dir::Cache=$apt/cache" -o APT::Architecture=amd64 -o 'APT::Architectures={"amd64";"arm64";"armhf";}' -o Dir::State::status=/dev/null)
        apt-get "${options[@]}" update -qq >&2
        (cd "$apt/debs" && apt-get "${options[@]}" download -qq \
            rustc-web:amd64 libstd-rust-web-1.96:amd64 libstd-rust-web-dev:amd64 libllvm22:amd64 "libstd-rust-web-dev:$(debian "$arch")" >&2)
        local deb
        for deb in "$apt"/debs/*.deb; do dpkg -x "$deb" "$prefix"; done
        cat > "$prefix/rustc-$arch" <<WRAPPER
#!/bin/sh
export LD_LIBRARY_PATH=$prefix/usr/lib/x86_64-linux-gnu:$prefix/usr/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
exec $(find "$prefix" -path '*bin/rustc*' -type f | head -n 1) --sysroot $prefix/usr "\$@"
WRAPPER
        chmod +x "$prefix/rustc-$arch"
    fi
    echo "$prefix/rustc-$arch"
}

[ $# -gt 0 ] || set -- armv7 aarch64
for arch in "$@"; do triple "$arch" >/dev/null; done
install_tools "$@"

for arch in "$@"; do
    target=$(triple "$arch"); gcc=$(gnu "$arch")-gcc; key=${target//-/_}
    toolchain=rustup
    if [ -n "${KC_CROSS_DEBIAN_RUSTC:-}" ] || ! rustup target add "$target" >/dev/null 2>&1; then
        echo "cross: rustup has no $target here, using Debian's rustc"
        RUSTC=$(debian_rustc "$arch"); export RUSTC
        export CARGO_TARGET_DIR=$out/debian-build
        toolchain=debian
    fi
    export "CC_$key=$gcc" "AR_$key=$(gnu "$arch")-ar" "CARGO_TARGET_${key^^}_LINKER=$gcc"
    echo "cross: building for $arch ($target, $toolchain)"
    cargo build --locked --profile "$profile" --target "$target" "${packages[@]}"
    cargo build --locked --profile "$small" --target "$target" -p kc-agent
    built() { echo "${CARGO_TARGET_DIR:-target}/$target/$([ "$1" = dev ] && echo debug || echo "$1")"; }
    # The functions' image is FROM scratch, so that program carries its own libc.
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile "$profile" --target "$target" \
        -p kc-function --target-dir "${CARGO_TARGET_DIR:-target}/static"
    mkdir -p "$out/$arch"
    for program in "${programs[@]}"; do cp "$(built "$([ "$program" = kc-agent ] && echo "$small" || echo "$profile")")/$program" "$out/$arch/"; done
    cp "${CARGO_TARGET_DIR:-target}/static/$target/$([ "$profile" = dev ] && echo debug || echo "$profile")/kc-function" "$out/$arch/"
    unset RUSTC CARGO_TARGET_DIR
done

for arch in "$@"; do
    run=$(qemu "$arch")
    for program in "${programs[@]}"; do
        printf 'cross: %-8s %-14s %6s KiB  ' "$arch" "$program" "$(($(stat -c %s "$out/$arch/$program") / 1024))"
        $run "$out/$arch/$program" --version
    done
    $run "$out/$arch/kc-forwarder" self-test
    echo "cross: $arch passed"
    cross/package.sh "$out/$arch" "$(debian "$arch")" "$out"
done
