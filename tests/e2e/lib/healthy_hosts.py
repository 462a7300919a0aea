# SPDX-License-Identifier: BSD-2-Clause
"""
Hosts on which nothing is wrong, by the commands that make them so. They come in this order where a
host has all shapes at once.
"""

from lib.topology import LB4

HEALTHY = {
    "nothing special": "true",
    "Tailscale": "ip rule add priority 5210 fwmark 0x80000/0xff0000 lookup main\n"
                 "ip rule add priority 5250 fwmark 0x80000/0xff0000 unreachable\n"
                 "ip rule add priority 5270 lookup 52\nip route add 100.64.0.0/10 dev eth0 table 52",
    "wg-quick behind": "ip rule add priority 32759 lookup main suppress_prefixlength 0\n"
                       "ip rule add priority 32760 not fwmark 0xca6c lookup 51820\n"
                       "ip route add default dev eth0 table 51820",
    "policy routing by source": "ip rule add priority 90 from 10.99.0.2 lookup 200\n"
                                f"ip route add default via {LB4} table 200",
    "a VPN for one user": "ip rule add priority 90 uidrange 4000-4000 lookup 200\n"
                          "ip route add default dev eth0 table 200",
    "HTTPS through a VPN": "ip rule add priority 90 ipproto tcp dport 443 lookup 200\n"
                           "ip route add default dev eth0 table 200",
    "a rule as VRFs have it": "ip rule add priority 1000 l3mdev protocol kernel",
    "another interface": "ip rule add priority 90 iif eth0 lookup 200\n"
                         "ip route add blackhole default table 200",
    "strict rp_filter": "sysctl -qw net.ipv4.conf.all.rp_filter=1\n"
                        "sysctl -qw net.ipv4.conf.lo.rp_filter=1",
    "rp_filter of nftables": "nft add table inet f\nnft 'add chain inet f p { type filter hook "
                             "prerouting priority -10; }'\n"
                             "nft add rule inet f p fib saddr . iif oif missing drop",
    "a firewall": """nft -f - <<'END'
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state invalid drop
        ct state { established, related } accept
        iif "lo" accept
        tcp dport { 22, 2222 } accept
    }
    chain forward { type filter hook forward priority filter; policy drop; }
}
END""",
    "a firewall of iptables": "iptables -A INPUT -i lo -j ACCEPT\niptables -A INPUT -p tcp --dport "
                              "2222 -j ACCEPT\niptables -P INPUT DROP",
    "docker-like rules": """nft -f - <<'END'
table ip nat {
    chain DOCKER { iifname "docker0" counter return; iifname != "docker0" tcp dport 8080 counter dnat to 172.17.0.2:80; }
    chain PREROUTING { type nat hook prerouting priority dstnat; fib daddr type local counter jump DOCKER; }
    chain OUTPUT { type nat hook output priority -100; ip daddr != 127.0.0.0/8 fib daddr type local counter jump DOCKER; }
    chain POSTROUTING { type nat hook postrouting priority srcnat; oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade; }
}
table ip filter {
    chain FORWARD { type filter hook forward priority filter; policy drop; }
}
END""",
    "marks of others": "nft add table inet m\nnft 'add chain inet m p { type filter hook prerouting "
                       "priority mangle; }'\nnft add rule inet m p iifname eth0 meta mark set 0x9",
    "an own local route": "ip route add local 203.0.113.0/24 dev lo",
    "no IPv6 default route": "ip -6 route del default",
    "firewalld": """nft -f - <<'END'
table inet firewalld {
    chain mangle_PREROUTING {
        type filter hook prerouting priority mangle + 10; policy accept;
        jump mangle_PREROUTING_ZONES
    }
    chain mangle_PREROUTING_ZONES { iifname "eth0" goto mangle_PRE_public; goto mangle_PRE_public; }
    chain mangle_PRE_public { return; }
    chain filter_PREROUTING {
        type filter hook prerouting priority filter + 10; policy accept;
        icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
        meta nfproto ipv6 fib saddr . mark . iif oif missing drop
    }
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        ct state invalid drop
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_INPUT_ZONES { iifname "eth0" goto filter_IN_public; goto filter_IN_public; }
    chain filter_IN_public { tcp dport { 22, 2222 } ct state { new, untracked } accept; }
    chain filter_OUTPUT {
        type filter hook output priority filter + 10; policy accept;
        ct state { established, related } accept
        oifname "lo" accept
        ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002::/24, 2002:a00::/24 } reject with icmpv6 addr-unreachable
    }
}
END""",
    "ufw": """for ip in iptables ip6tables; do
    for chain in before-logging-input before-input user-input not-local; do $ip -N ufw-$chain; done
    $ip -A INPUT -j ufw-before-logging-input
    $ip -A INPUT -j ufw-before-input
    $ip -A INPUT -j ufw-user-input
    $ip -A ufw-before-input -i lo -j ACCEPT
    $ip -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    $ip -A ufw-before-input -m conntrack --ctstate INVALID -j DROP
    $ip -A ufw-before-input -j ufw-not-local
    $ip -A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
    $ip -A ufw-not-local -m limit --limit 3/min -j LOG --log-prefix '[UFW BLOCK] '
    $ip -A ufw-not-local -j DROP
    $ip -A ufw-user-input -p tcp --dport 2222 -j ACCEPT
    $ip -P INPUT DROP
    $ip -P FORWARD DROP
done""",
    "wg-quick": """nft -f - <<'END'
table ip wg-quick-wg0 {
    chain preraw { type filter hook prerouting priority raw; policy accept; iifname != "wg0" ip daddr 10.66.66.2 fib saddr type != local drop; }
    chain premangle { type filter hook prerouting priority mangle; policy accept; meta l4proto udp meta mark set ct mark; }
    chain postmangle { type filter hook postrouting priority mangle; policy accept; meta l4proto udp meta mark 0xca6c ct mark set meta mark; }
}
END
ip rule add not fwmark 0xca6c lookup 51821 priority 32761
ip rule add lookup main suppress_prefixlength 0 priority 32758
ip route add default dev eth0 table 51821""",
    "wg-quick's sysctl": "sysctl -qw net.ipv4.conf.all.src_valid_mark=1",
    "Mullvad": """nft -f - <<'END'
table inet mullvad {
    chain output {
        type filter hook output priority filter; policy drop;
        oif "lo" accept
        ct mark 0x00000f41 accept
        udp sport 68 ip daddr 255.255.255.255 udp dport 67 accept
        reject
    }
    chain input {
        type filter hook input priority filter; policy drop;
        iif "lo" accept
        ct mark 0x00000f41 accept
        tcp dport 2222 accept
    }
    chain mangle { type route hook output priority mangle; policy accept; meta cgroup 5087041 ct mark set 0xf41 meta mark set 0x6d6f6c65; }
    chain nat { type nat hook postrouting priority srcnat; policy accept; oif != "lo" ct mark 0x00000f41 masquerade; }
}
END
ip rule add not fwmark 0x6d6f6c65 lookup 1836018789 priority 32762
ip route add default dev eth0 table 1836018789""",
    "k3s with Cilium": "ip rule add fwmark 0x200/0xf00 lookup 2004 priority 9\n"
                       "ip route add local default dev lo table 2004\n"
                       "ip rule add lookup local priority 60\nip rule del priority 0 lookup local",
    "rules as for VRFs": "ip rule add priority 1001 l3mdev protocol kernel\n"
                         "ip rule add priority 32700 lookup local\n"
                        "ip rule del priority 0 lookup local || ip rule del priority 60",
    "clients that are banned": "iptables -I INPUT -s 203.0.113.5 -j REJECT\n"
                               "nft add table inet ban\n"
                               "nft 'add set inet ban bad { type ipv4_addr; flags interval; elements "
                               "= { 203.0.113.6, 198.51.101.0/24 }; }'\n"
                               "nft 'add chain inet ban c { type filter hook input priority -1; }'\n"
                               "nft add rule inet ban c ip saddr @bad drop\n"
                               "nft add rule inet ban c ip saddr 203.0.113.0/25 tcp dport 22 drop",
    "a filter for bogons": "nft add table inet bogon\n"
                           "nft 'add chain inet bogon c { type filter hook prerouting priority -5; }'\n"
                           "nft add rule inet bogon c ip saddr { 0.0.0.0/8, 100.64.0.0/10, "
                           "192.0.2.0/24, 198.18.0.0/15, 203.0.113.0/24, 240.0.0.0/4 } drop\n"
                           "nft add rule inet bogon c ip6 saddr '{ 2001:db8::/64, 2002::/16, 100::/64 }' drop",
    "iptables-legacy": "iptables-legacy -A INPUT -i lo -j ACCEPT\n"
                       "iptables-legacy -A INPUT -m state --state ESTABLISHED -j ACCEPT\n"
                       "iptables-legacy -A INPUT -s 203.0.113.5 -j DROP\n"
                       "iptables-legacy -A INPUT -p tcp --dport 2222 -j ACCEPT\n"
                       "iptables-legacy -t mangle -A PREROUTING -i eth0 -j MARK --set-mark 9\n"
                       "iptables-legacy -P INPUT DROP",
}

# What the return path to other machines can't live with, ...
LOCAL_ONLY = {"wg-quick's sysctl", "Mullvad"}
# ... and what connmark can't: its replies are bound for another interface when that is looked at.
NOT_CONNMARK = {"Mullvad"}
METHODS = ("loopback", "fwmark", "connmark")
CASES = [(name, method) for name in HEALTHY for method in METHODS
         if method != "connmark" or name not in NOT_CONNMARK]
