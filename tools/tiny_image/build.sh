#!/usr/bin/env bash
# Builds the tiny guest image; called by bin/tiny-image, which says what it is.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin # depmod lives there, and a plain user's PATH lacks it
image_mib=24               # kernel, initramfs and boot loader take about 17 of them
download_limit=300         # seconds for both packages

die() {
    echo "tiny-image: $1" >&2
    [ $# -lt 2 ] || echo "tiny-image: $2" >&2
    exit 1
}

check_tools() {
    local pair missing=()
    for pair in apt-get:apt dpkg:dpkg depmod:kmod cpio:cpio mformat:mtools \
        syslinux:syslinux qemu-img:qemu-utils; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -eq 0 ] ||
        die "missing packages: ${missing[*]}" "run bin/setup, or: apt-get install ${missing[*]}"
}

# Prints PACKAGE=VERSION for both packages, in the form that apt-get takes and the stamp keeps.
# The metapackage linux-image-cloud-amd64 names the kernel that Debian supports today.
packages() {
    apt-cache show --no-all-versions linux-image-cloud-amd64:amd64 busybox-static:amd64 2>/dev/null |
        sed -n -e 's/^Depends:.*\(linux-image-[^ ]*-cloud-amd64\) (= \([^)]*\)).*/\1:amd64=\2/p' \
            -e '/^Package: busybox-static$/,/^$/s/^Version: /busybox-static:amd64=/p'
}

inputs() { # everything that decides what the image holds
    printf '%s\n' "$@" "image_mib=$image_mib"
    (cd -- "$here" && find . -type f | LC_ALL=C sort | while IFS= read -r file; do
        sha256sum -- "$file"
    done)
}

download() { # DIRECTORY PACKAGE...: fetch and unpack each into DIRECTORY/tree
    local directory=$1 deb log="$1/apt.log"
    shift
    # As root apt would switch to a user that cannot write here; the files are checked either way.
    (cd -- "$directory" && timeout "$download_limit" \
        apt-get download -q -o APT::Sandbox::User=root "$@") >"$log" 2>&1 || {
        cat -- "$log" >&2
        die "could not download $*" "check the network, run 'apt-get update' as root, try again"
    }
    for deb in "$directory"/*.deb; do
        dpkg -x "$deb" "$directory/tree"
    done
}

copy_modules() { # TREE ROOT KERNEL: the wanted modules and what they depend on, with an index
    local from="$1/lib/modules/$3" to="$2/lib/modules/$3" name line file
    depmod -b "$1" "$3"
    mkdir -p "$to"
    while IFS= read -r name; do
        line=$(grep -E "(^|/)$name\.ko:" "$from/modules.dep") ||
            die "kernel $3 has no module $name" "remove it from tools/tiny_image/rootfs/etc/modules"
        for file in ${line//:/ }; do
            mkdir -p "$to/$(dirname "$file")"
            cp -- "$from/$file" "$to/$file"
        done
    done < <(grep -v '^#' "$here/rootfs/etc/modules")
    cp -- "$from"/modules.{builtin,builtin.modinfo,order} "$to/"
    depmod -b "$2" "$3"
    find "$to" -maxdepth 1 -type f ! -name modules.dep -delete # busybox reads only this one
}

make_initramfs() { # TREE KERNEL OUTPUT
    local tree=$1 kernel=$2 output=$3 root="$1/initramfs"
    mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,run,tmp,root,mnt,var}
    cp -R -- "$here/rootfs/." "$root/"
    cp -- "$tree/bin/busybox" "$root/bin/busybox"
    ln -s bin/busybox "$root/init" # PID 1 is busybox init: it reaps, respawns and powers off
    ln -s ../run "$root/var/run"
    chmod -R u=rwX,go=rX "$root"
    chmod 755 "$root/bin/busybox" "$root"/lib/novella/* "$root"/etc/acpi/*/*
    chmod 700 "$root/root"
    chmod 1777 "$root/tmp"
    copy_modules "$tree" "$root" "$kernel"
    # gzip, because unpacking xz costs an emulated guest 0.4 s at each boot
    (cd -- "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --owner=0:0 --reproducible) |
        gzip -n -9 >"$output"
}

make_disk() { # WORK KERNEL OUTPUT: a FAT file system over the whole disk, booted by syslinux
    local work=$1 raw="$1/disk.raw"
    truncate -s "${image_mib}M" "$raw"
    # Geometry of 64 heads and 32 sectors: one cylinder is one MiB. -H 0: no partition before it.
    mformat -i "$raw" -v NOVELLA -N 4e4f5645 -t "$image_mib" -h 64 -s 32 -H 0 ::
    mcopy -i "$raw" "$work/tree/boot/vmlinuz-$2" ::/vmlinuz
    mcopy -i "$raw" "$work/initrd" ::/initrd
    mcopy -i "$raw" "$here/syslinux.cfg" ::/syslinux.cfg
    syslinux --install "$raw"
    qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd "$raw" "$3"
}

work= partial=
cleanup() {
    [ -z "$work" ] || rm -rf -- "$work"
    [ -z "$partial" ] || rm -f -- "$partial"
}

build() { # OUTPUT PACKAGE...
    local output=$1 kernel
    shift
    work=$(mktemp -d)
    # Beside the output, so that the rename at the end is atomic; the name is ours alone.
    partial=$(mktemp -- "$output.XXXXXX") || die "cannot write beside $output" "check its directory"
    download "$work" "$@"
    kernel=$(ls "$work/tree/lib/modules")
    make_initramfs "$work/tree" "$kernel" "$work/initrd"
    make_disk "$work" "$kernel" "$partial"
    chmod 644 -- "$partial"
    mv -f -- "$partial" "$output"
    partial=
}

main() {
    [ $# -eq 1 ] && [[ $1 != -* ]] || die "usage: bin/tiny-image OUTPUT.qcow2"
    local output stamp packages wanted
    [ -d "$(dirname -- "$1")" ] || die "no directory $(dirname -- "$1")" "create it first"
    output=$(cd -- "$(dirname -- "$1")" && pwd)/$(basename -- "$1")
    stamp=$output.inputs
    check_tools
    mapfile -t packages < <(packages)
    [ ${#packages[@]} -eq 2 ] ||
        die "apt knows no linux-image-cloud-amd64 or no busybox-static" \
            "run 'apt-get update' as root, on Debian 12 or later for amd64"
    wanted=$(inputs "${packages[@]}")
    if [ -f "$output" ] && [ "$(cat -- "$stamp" 2>/dev/null)" = "$wanted" ]; then
        echo "$output is up to date"
        return
    fi
    trap cleanup EXIT
    trap 'exit 130' INT TERM HUP
    rm -f -- "$stamp" # an image without its stamp is rebuilt, never trusted
    build "$output" "${packages[@]}"
    printf '%s\n' "$wanted" >"$stamp"
    echo "$output is built: ${packages[0]}, $(($(stat -c %s -- "$output") >> 10)) KiB"
}

main "$@"
