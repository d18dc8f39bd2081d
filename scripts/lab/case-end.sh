
# --- the end of every case: nothing may be left but what the case itself has started and can be stopped
gpud_stop
for domain in $(xl list | awk 'NR > 1 && $1 != "Domain-0" { print $1 }'); do
    [ "$domain" = "(null)" ] || guest_stop "$domain"
done
assert_no_leftovers
