# A dom0, without a hypervisor: the package, and who runs when libxl starts its helper.
. /packages/lib.sh

bin=/usr/lib/xen-$XEN/bin
helper=$bin/libxl-save-helper
plugin=/usr/lib/xl-gpu/libxl_gpu_plugin.so

is_stock() { [ "$(head -c 4 "$1" | tail -c 3)" = ELF ]; }
is_wrapper() { head -n 2 "$1" | grep -aq 'with the xl-gpu plugin'; }
# As libxl does, but with no domain: the linker says what it initialises before the helper finds that it has no orders.
runs_plugin() { says "calling init: $plugin" env -u LIBXL_SAVE_HELPER LD_DEBUG=libs "$1"; }
runs_stock() {
    says "calling init: " env LD_DEBUG=libs "$1"
    says_not "calling init: $plugin" env LD_DEBUG=libs "$1"
}
nothing_diverted() { [ -z "$(dpkg-divert --list '*libxl-save-helper*')" ]; }

files >/tmp/before
expect "Xen's own helper at first" is_stock "$helper"
sum=$(md5sum <"$helper")

installs /packages/xl-gpu-dom0_*.deb
expect "the wrapper in its place" is_wrapper "$helper"
expect "Xen's beside it" is_stock "$helper.distrib"
expect "dpkg knows" says "diversion of $helper to $helper.distrib by xl-gpu-dom0" dpkg-divert --list '*libxl-save-helper*'
expect "Xen's package is as it was" [ -z "$(dpkg --verify "xen-utils-$XEN")" ]
expect "a helper that is started has the plugin" runs_plugin "$helper"
expect "so has one that LIBXL_SAVE_HELPER names" runs_plugin /usr/lib/xl-gpu/libxl-save-helper
expect "the daemon is enabled" [ -L /etc/systemd/system/multi-user.target.wants/xl-gpud.service ]
expect "the configuration is a conffile" says /etc/xen/xl-gpu.conf dpkg-query -W -f '${Conffiles}' xl-gpu-dom0
expect "nothing in the packages is missing or changed" [ -z "$(dpkg --verify xl-gpu-dom0)" ]
expect "every library is found" says_not 'not found' ldd /usr/sbin/xl-gpu /usr/sbin/xl-gpud $plugin
expect "the command runs" says xl-gpu xl-gpu --version
expect "the daemon runs" says xl-gpud xl-gpud --version
expect "the daemon takes the configuration" says_not xl-gpu.conf timeout 2 xl-gpud --run-dir /tmp/run --loopback /tmp/programs
rm -rf /tmp/run /tmp/programs /tmp/xl-gpud-* /var/lib/xl-gpu
expect "manual pages" [ -e /usr/share/man/man8/xl-gpu.8.gz -a -e /usr/share/man/man8/xl-gpud.8.gz -a -e /usr/share/man/man5/xl-gpu.conf.5.gz ]
expect "completions" [ -s /usr/share/bash-completion/completions/xl-gpu -a -s /usr/share/zsh/vendor-completions/_xl-gpu ]
expect "doctor says that the daemon is down" says '[daemon-down]' xl-gpu doctor
expect "doctor finds the helper in place" says_not 'helper-' xl-gpu doctor

# Pieces that are lost.
mv $plugin /tmp/plugin.so
expect "without the plugin: stock" runs_stock "$helper"
expect "and says so" says 'GPU state will not migrate' "$helper"
head -c 4096 /tmp/plugin.so >$plugin
expect "a plugin cut short: stock" runs_stock "$helper"
sed 's/libgcc_s\.so\.1/libgcc_x.so.1/' /tmp/plugin.so >$plugin
expect "a plugin that lacks a library: stock" runs_stock "$helper"
mv /tmp/plugin.so $plugin
mv /usr/lib/xl-gpu /tmp/xl-gpu
expect "our folder gone: stock" runs_stock "$helper"
mv /tmp/xl-gpu /usr/lib/xl-gpu
expect "and back" runs_plugin "$helper"

# Xen's package comes again, is written over, goes, and comes.
dpkg -i /var/xen/xen-utils-*.deb >/dev/null
expect "Xen installed again: the wrapper stays" is_wrapper "$helper"
expect "Xen's own is where it was diverted to" [ "$(md5sum <"$helper.distrib")" = "$sum" ]
cp "$helper.distrib" /tmp/own
echo >>/tmp/own
cp --remove-destination /tmp/own "$helper"
expect "a helper put over the wrapper runs" runs_stock "$helper"
expect "doctor finds it" says '[helper-stock]' xl-gpu doctor
/usr/lib/xl-gpu/save-helper-diversion add
expect "the wrapper is back" runs_plugin "$helper"
expect "the package's own is the one that counts" [ "$(md5sum <"$helper.distrib")" = "$sum" ]

# Interrupted after each step, and Xen is upgraded then: the newer helper is the one that runs in the end.
cp "$helper.distrib" /tmp/new
upgraded() { # as dpkg does, by its record
    if [ -n "$(dpkg-divert --listpackage "$helper")" ]; then cp --remove-destination /tmp/new "$helper.distrib"; else cp --remove-destination /tmp/new "$helper"; fi
}
diverts_new() {
    "$diversion" add
    is_wrapper "$helper" && cmp /tmp/new "$helper.distrib"
    "$diversion" remove
    cmp /tmp/new "$helper" && [ ! -e "$helper.distrib" ]
    "$diversion" add
}
diversion=/usr/lib/xl-gpu/save-helper-diversion
echo >>/tmp/new
dpkg-divert --quiet --package xl-gpu-dom0 --remove --no-rename "$helper"
upgraded
expect "removal cut short after its first step" diverts_new
"$diversion" remove
cp "$helper" /tmp/old
echo >>/tmp/new
ln -f "$helper" "$helper.distrib"
upgraded
expect "addition cut short after its first step" diverts_new
"$diversion" remove
echo >>/tmp/new
ln -f "$helper" "$helper.distrib"
dpkg-divert --quiet --package xl-gpu-dom0 --add --no-rename --divert "$helper.distrib" "$helper"
upgraded
expect "addition cut short after its second step" diverts_new
dpkg -i /var/xen/xen-utils-*.deb >/dev/null
expect "Xen's own is diverted" [ "$(md5sum <"$helper.distrib")" = "$sum" ]

expect "the wrapper does not call itself" says 'calling init' env LD_DEBUG=libs XL_GPU_SAVE_HELPER="$helper" "$helper"
mv "$helper.distrib" /tmp/distrib
mkdir -p /usr/lib/xen-4.30/bin
cp /tmp/distrib /usr/lib/xen-4.30/bin/libxl-save-helper
expect "another Xen's helper is not taken" says "no libxl-save-helper of Xen's found" "$helper"
expect "doctor finds that, too" says 'helper-broken' xl-gpu doctor
rm -r /usr/lib/xen-4.30
mv /tmp/distrib "$helper.distrib"

dpkg -r --force-depends "xen-utils-$XEN" >/dev/null 2>&1
expect "Xen removed: no wrapper is left, no diversion" [ ! -e "$helper" -a ! -e "$helper.distrib" ]
expect "dpkg has forgotten it" nothing_diverted
dpkg -i /var/xen/xen-utils-*.deb >/dev/null
expect "Xen is back: diverted again" runs_plugin "$helper"

# A second Xen.
mkdir -p /usr/lib/xen-4.30/bin
cp "$helper.distrib" /usr/lib/xen-4.30/bin/libxl-save-helper
/usr/lib/xl-gpu/save-helper-diversion add
cp --remove-destination /tmp/own /usr/lib/xen-4.30/bin/libxl-save-helper
/usr/lib/xl-gpu/save-helper-diversion add
expect "built anew without a package: the newer one counts" cmp /tmp/own /usr/lib/xen-4.30/bin/libxl-save-helper.distrib
expect "a second Xen has the plugin" runs_plugin /usr/lib/xen-4.30/bin/libxl-save-helper
expect "status names both" [ "$(/usr/lib/xl-gpu/save-helper-diversion status | grep -c ' diverted$')" = 2 ]

# Upgrade; the administrator's configuration stays.
echo 'spool_memory = "2G"' >/etc/xen/xl-gpu.conf
installs -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold /packages/newer/xl-gpu-dom0_*.deb
expect "upgraded" says 99 dpkg-query -W xl-gpu-dom0
expect "the configuration is the administrator's" says 2G cat /etc/xen/xl-gpu.conf
expect "the plugin is in the helper" runs_plugin "$helper"

# The daemon says what is kept; or, if it cannot be asked, its files do.
mkdir -p /run/xl-gpu/spool && touch /run/xl-gpu/spool/image.json
expect "not removed while programs wait" says 'guests need it' dpkg -r xl-gpu-dom0
expect "it is still there" runs_plugin "$helper"
rm -r /run/xl-gpu

dpkg -r xl-gpu-dom0 >/dev/null
expect "removed: Xen's own is back" [ "$(md5sum <"$helper")" = "$sum" ]
expect "also the second Xen's" is_stock /usr/lib/xen-4.30/bin/libxl-save-helper
expect "no diversion" nothing_diverted
rm -r /usr/lib/xen-4.30
mkdir -p /var/lib/xl-gpu/spool
dpkg -P xl-gpu-dom0 >/dev/null
expect "purged: nothing is left" same_files /tmp/before
