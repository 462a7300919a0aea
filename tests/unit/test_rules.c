/* SPDX-License-Identifier: BSD-2-Clause */
#include "routing_support.h"

#include "mmproxy/routing/report/rules.h"

static const struct wanted_host host = { .has_ipv6 = true, .outbound_v4 = { "eth0" } };

static const struct {
    const char *name;
    enum return_path return_path;
    const char *v4;
    const char *v6;
    enum rules_form form;
    const char *text;
} forms[] = {
    { "loopback, shell", RETURN_PATH_LOOPBACK, "127.0.0.1:22", "[::1]:22", RULES_SHELL,
      "ip rule add from 127.0.0.0/8 iif lo lookup 100\n"
      "ip route add local 0.0.0.0/0 dev lo table 100\n"
      "ip -6 rule add from ::1/128 iif lo lookup 100\n"
      "ip -6 route add local ::/0 dev lo table 100\n" },
    { "loopback, undo, the other way round", RETURN_PATH_LOOPBACK, "127.0.0.1:22", "[::1]:22",
      RULES_UNDO,
      "ip -6 route del local ::/0 dev lo table 100\n"
      "ip -6 rule del from ::1/128 iif lo lookup 100\n"
      "ip route del local 0.0.0.0/0 dev lo table 100\n"
      "ip rule del from 127.0.0.0/8 iif lo lookup 100\n" },
    { "fwmark, shell, IPv6 alone", RETURN_PATH_FWMARK, NULL, "[fd09::1]:22", RULES_SHELL,
      "ip -6 rule add fwmark 123 lookup 100\n"
      "ip -6 route add local ::/0 dev lo table 100\n"
      "sysctl -w net.ipv4.tcp_fwmark_accept=1\n"
      "sysctl -w net.ipv6.fwmark_reflect=1\n" },
    { "fwmark, undo, IPv4 alone", RETURN_PATH_FWMARK, "10.9.0.1:22", NULL, RULES_UNDO,
      "sysctl -w net.ipv4.fwmark_reflect=0\n"
      "sysctl -w net.ipv4.tcp_fwmark_accept=0\n"
      "ip route del local 0.0.0.0/0 dev lo table 100\n"
      "ip rule del fwmark 123 lookup 100\n" },
    { "loopback, networkd", RETURN_PATH_LOOPBACK, "127.0.0.1:22", NULL, RULES_NETWORKD,
      "# /etc/systemd/network/50-mmproxy.network\n"
      "[Match]\nName=lo\n"
      "\n[RoutingPolicyRule]\nFrom=127.0.0.0/8\nIncomingInterface=lo\nTable=100\nPriority=200\n"
      "\n[Route]\nType=local\nDestination=0.0.0.0/0\nTable=100\n" },
    { "fwmark, networkd", RETURN_PATH_FWMARK, NULL, "[fd09::1]:22", RULES_NETWORKD,
      "# /etc/systemd/network/50-mmproxy.network\n"
      "[Match]\nName=lo\n"
      "\n[RoutingPolicyRule]\nFamily=ipv6\nFirewallMark=123\nTable=100\nPriority=200\n"
      "\n[Route]\nType=local\nDestination=::/0\nTable=100\n"
      "\n# /etc/sysctl.d/50-mmproxy.conf\n"
      "# net.ipv4.tcp_fwmark_accept = 1\n# net.ipv6.fwmark_reflect = 1\n" },
    { "connmark, networkd: what it cannot do is a comment", RETURN_PATH_CONNMARK, "10.9.0.1:22",
      NULL, RULES_NETWORKD,
      "# /etc/systemd/network/50-mmproxy.network\n"
      "[Match]\nName=lo\n"
      "\n[RoutingPolicyRule]\nFamily=ipv4\nFirewallMark=123\nTable=100\nPriority=200\n"
      "\n[Route]\nType=local\nDestination=0.0.0.0/0\nTable=100\n"
      "\n# To be run at boot, systemd-networkd does not know them:\n"
      "# iptables -t mangle -I PREROUTING -m mark --mark 123 -m comment --comment mmproxy "
      "-j CONNMARK --save-mark\n"
      "# iptables -t mangle -I OUTPUT -m connmark --mark 123 -m comment --comment mmproxy "
      "-j CONNMARK --restore-mark\n" },
    { "loopback, interfaces", RETURN_PATH_LOOPBACK, NULL, "[::1]:22", RULES_INTERFACES,
      "# /etc/network/interfaces.d/mmproxy\n"
      "iface lo inet loopback\n"
      "    post-up ip -6 rule add from ::1/128 iif lo lookup 100\n"
      "    post-up ip -6 route add local ::/0 dev lo table 100\n"
      "    pre-down ip -6 route del local ::/0 dev lo table 100 || true\n"
      "    pre-down ip -6 rule del from ::1/128 iif lo lookup 100 || true\n" },
    { "connmark, shell", RETURN_PATH_CONNMARK, NULL, "[::1]:22", RULES_SHELL,
      "ip6tables -t mangle -I PREROUTING -m mark --mark 123 -m comment --comment mmproxy "
      "-j CONNMARK --save-mark\n"
      "ip6tables -t mangle -I OUTPUT -m connmark --mark 123 -m comment --comment mmproxy "
      "-j CONNMARK --restore-mark\n"
      "ip -6 rule add fwmark 123 lookup 100\n"
      "ip -6 route add local ::/0 dev lo table 100\n" },
};

static void each_form_has_its_exact_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(forms); i++) {
        struct listener_config listener =
            support_listener(forms[i].return_path, forms[i].v4, forms[i].v6, 123, 100);
        struct config config = { .listeners = &listener, .n_listeners = 1 };
        struct wanted wanted = { 0 };
        char text[4096] = "";
        FILE *out = fmemopen(text, sizeof(text), "w");

        assert_int_equal(wanted_add(&wanted, &config, &host), 0);
        rules_print_wanted(out, &wanted, forms[i].form);
        fclose(out);
        if (strcmp(text, forms[i].text) != 0)
            fail_msg("%s: got\n%sexpected\n%s", forms[i].name, text, forms[i].text);
        wanted_close(&wanted);
    }
}

static void nothing_wanted_prints_nothing(void **state)
{
    static const struct wanted nothing = { 0 };
    char text[64] = "";

    (void)state;
    for (int form = RULES_SHELL; form <= RULES_INTERFACES; form++) {
        FILE *out = fmemopen(text, sizeof(text), "w");

        rules_print_wanted(out, &nothing, (enum rules_form)form);
        fclose(out);
        assert_string_equal(text, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_has_its_exact_text),
        cmocka_unit_test(nothing_wanted_prints_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
