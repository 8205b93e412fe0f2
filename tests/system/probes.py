"""Small packages of every awkward kind, built and installed inside a Debian root by its own dpkg-deb and dpkg.

`probe` has configuration files, one of which its second version no longer ships, hard links, blanks and bytes that are
no UTF-8 in names, an empty directory, a link, and a file of zeros. `probe-tool` ships a program that `probe-divert`
diverts. `probe-gone` was removed and left its configuration file. An administrator has set owner and mode of one file,
diverted another, and has two alternatives to choose from.
"""

from __future__ import annotations

_BUILD = r"""
work=/var/tmp/probes
package() { # name version; the tree stands ready
    mkdir -p "$work/$1/DEBIAN"
    cat > "$work/$1/DEBIAN/control" <<CONTROL
Package: $1
Version: $2
Architecture: $(dpkg --print-architecture)
Multi-Arch: same
Maintainer: Nobody <nobody@example.org>
Description: probe
CONTROL
    [ "$1" != probe ] && sed -i '/^Multi-Arch/d' "$work/$1/DEBIAN/control"
    dpkg-deb --root-owner-group -b "$work/$1" "$work/$1.deb" >/dev/null
}
tree=$work/probe
mkdir -p "$tree/DEBIAN" "$tree/etc/probe" "$tree/usr/bin" "$tree/usr/lib/probe/deep/er" "$tree/usr/share/probe/lists" \
    "$tree/var/lib/probe/empty"
for name in plain kept dropped deleted; do
    echo "# $name" > "$tree/etc/probe/$name.conf"
    echo "/etc/probe/$name.conf" >> "$tree/DEBIAN/conffiles"
done
printf '#!/bin/sh\necho probe\n' > "$tree/usr/bin/probe"
chmod 755 "$tree/usr/bin/probe"
ln -s probe "$tree/usr/bin/probe-link"
ln -s ../../bin/probe "$tree/usr/lib/probe/program"
for name in one two twin-a alone overridden diverted 'name with  blanks' deep/er/file; do
    echo "content of $name" > "$tree/usr/lib/probe/$name"
done
echo odd > "$tree/usr/lib/probe/$(printf 'odd-\377')"
ln "$tree/usr/lib/probe/twin-a" "$tree/usr/lib/probe/twin-b"
head -c 262144 /dev/zero > "$tree/usr/lib/probe/zeros"
for number in 1 2 3 4 5; do echo "list $number" > "$tree/usr/share/probe/lists/$number"; done
package probe 1.0
dpkg -i "$work/probe.deb"
rm "$tree/etc/probe/dropped.conf"
sed -i /dropped/d "$tree/DEBIAN/conffiles"
package probe 2.0
dpkg -i "$work/probe.deb"

tree=$work/probe-tool
mkdir -p "$tree/usr/bin" "$tree/usr/share/doc/probe-tool"
echo tool > "$tree/usr/bin/probe-tool"
echo tool > "$tree/usr/share/doc/probe-tool/README"  # or dpkg would think that nothing of the package is left
package probe-tool 1.0
tree=$work/probe-divert
mkdir -p "$tree/usr/bin" "$tree/DEBIAN"
echo diverting > "$tree/usr/bin/probe-tool"
cat > "$tree/DEBIAN/preinst" <<'SCRIPT'
#!/bin/sh
dpkg-divert --package probe-divert --rename --divert /usr/bin/probe-tool.distrib --add /usr/bin/probe-tool
SCRIPT
chmod 755 "$tree/DEBIAN/preinst"
package probe-divert 1.0
tree=$work/probe-gone
mkdir -p "$tree/etc" "$tree/DEBIAN"
echo gone > "$tree/etc/probe-gone.conf"
echo /etc/probe-gone.conf > "$tree/DEBIAN/conffiles"
package probe-gone 1.0
dpkg -i "$work/probe-tool.deb" "$work/probe-divert.deb" "$work/probe-gone.deb"
dpkg -r probe-gone

dpkg-statoverride --update --add root adm 0640 /usr/lib/probe/overridden
dpkg-divert --local --rename --divert /usr/lib/probe/diverted.away --add /usr/lib/probe/diverted
update-alternatives --install /usr/bin/probe-choice probe-choice /usr/lib/probe/one 10
update-alternatives --install /usr/bin/probe-choice probe-choice /usr/lib/probe/two 20
cp "$work"/*.deb /var/cache/apt/archives/
rm -rf "$work"
"""

PROBES = (_BUILD,)
