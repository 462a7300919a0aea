/* SPDX-License-Identifier: BSD-2-Clause */
/* Mistakes in addresses, and in what several keys or listeners say together. */
#include "config_check.h"

#define TARGETS(KEYS)                                                             \
    "listeners = ( { name = \"a\"; listen = \"0.0.0.0:2222\"; allowed_subnets = " \
    "\"a.subnets\";\n" KEYS "; } );"

static void targets_must_be_of_their_family_and_lead_somewhere(void **state)
{
    static const struct mistake_case cases[] = {
        { "IPv6 as IPv4", TARGETS("target_v4 = \"[::1]:22\""),
          "t.conf:2: \"target_v4\" must be an IPv4 address, not \"[::1]:22\"\n" },
        { "IPv4 as IPv6", TARGETS("target_v6 = \"127.0.0.1:22\""),
          "t.conf:2: \"target_v6\" must be an IPv6 address, not \"127.0.0.1:22\"\n" },
        { "v4-mapped", TARGETS("target_v6 = \"[::ffff:192.0.2.1]:22\""),
          "t.conf:2: \"target_v6\" is the v4-mapped address \"[::ffff:192.0.2.1]:22\": write "
          "\"192.0.2.1:22\" as the IPv4 target\n" },
        { "port 0", TARGETS("target_v4 = \"127.0.0.1:0\""),
          "t.conf:2: \"target_v4\" is \"127.0.0.1:0\": port is not a number from 1 to 65535\n" },
        { "no port", TARGETS("target_v4 = \"127.0.0.1\""),
          "t.conf:2: \"target_v4\" is \"127.0.0.1\": port is missing\n" },
        { "a name", TARGETS("target_v4 = \"localhost:22\""),
          "t.conf:2: \"target_v4\" is \"localhost:22\": not an IPv4 address before the port\n" },
        { "empty", TARGETS("target_v4 = \"\""),
          "t.conf:2: \"target_v4\" is \"\": port is missing\n" },
        { "unspecified", TARGETS("target_v4 = \"0.0.0.0:22\"; target_v6 = \"[::]:22\""),
          "t.conf:2: \"target_v4\" is \"0.0.0.0:22\", an unspecified address: no service can be "
          "reached there\n"
          "t.conf:2: \"target_v6\" is \"[::]:22\", the unspecified address: no service can be "
          "reached there\n" },
        { "multicast", TARGETS("target_v4 = \"224.0.0.1:22\"; target_v6 = \"[ff02::1]:22\""),
          "t.conf:2: \"target_v4\" is \"224.0.0.1:22\", a multicast address: no service can be "
          "reached there\n"
          "t.conf:2: \"target_v6\" is \"[ff02::1]:22\", a multicast address: no service can be "
          "reached there\n" },
        { "broadcast", TARGETS("target_v4 = \"255.255.255.255:22\""),
          "t.conf:2: \"target_v4\" is \"255.255.255.255:22\", the broadcast address: no service "
          "can be reached there\n" },
        { "its own wildcard address", TARGETS("target_v4 = \"127.0.0.1:2222\""),
          "t.conf:2: \"target_v4\" is 127.0.0.1:2222, where this mmproxy listens itself "
          "(t.conf:1): a loop\n" },
        { "another listener's address",
          "listeners = (\n" LISTENER("a", "192.0.2.1:1", "192.0.2.2:2",
                                     "") ",\n" LISTENER("b", "192.0.2.2:2", "192.0.2.2:3", "") ");",
          "t.conf:2: \"target_v4\" is 192.0.2.2:2, where this mmproxy listens itself (t.conf:3): "
          "a loop\n" },
        { "no target at all",
          "listeners = (\n { name = \"a\"; listen = \"0.0.0.0:1\"; allowed_subnets = "
          "\"a.subnets\" } );",
          "t.conf:2: this listener needs a target: the key \"target_v4\" or \"target_v6\"\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

#define LISTENS(LISTEN)                                                           \
    "listeners = ( { name = \"a\"; allowed_subnets = \"a.subnets\"; target_v4 = " \
    "\"127.0.0.1:1\";\n"                                                          \
    "listen = " LISTEN "; } );"

static void addresses_to_listen_on_have_their_own_line(void **state)
{
    static const struct mistake_case cases[] = {
        { "each of an array",
          LISTENS("[ \"0.0.0.0:99999\",\n\n \"1.2.3:4\"\n , \"[::1\" # c\n/* \n */ ]"),
          "t.conf:2: \"listen\" is \"0.0.0.0:99999\": port is not a number from 1 to 65535\n"
          "t.conf:4: \"listen\" is \"1.2.3:4\": not an IPv4 address before the port\n"
          "t.conf:5: \"listen\" is \"[::1\": closing bracket is missing\n" },
        { "v4-mapped", LISTENS("\"[::ffff:192.0.2.1]:22\""),
          "t.conf:2: \"listen\" is the v4-mapped address \"[::ffff:192.0.2.1]:22\": write "
          "\"192.0.2.1:22\"\n" },
        { "multicast", LISTENS("[ \"224.0.0.1:22\", \"[ff02::1]:22\" ]"),
          "t.conf:2: \"listen\" is \"224.0.0.1:22\", a multicast address\n"
          "t.conf:2: \"listen\" is \"[ff02::1]:22\", a multicast address\n" },
        { "none", LISTENS("[ ]"), "t.conf:2: \"listen\" must have 1 to 1024 addresses, not 0\n" },
        { "the same twice", LISTENS("[ \"0.0.0.0:5\",\n \"0.0.0.0:5\" ]"),
          "t.conf:3: \"listen\" has 0.0.0.0:5, which is already taken (t.conf:2)\n" },
        { "the same, spelled differently", LISTENS("[ \"[::1]:5\", \n\"[0:0::1]:5\" ]"),
          "t.conf:3: \"listen\" has [::1]:5, which is already taken (t.conf:2)\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void the_metrics_have_an_address_of_their_own(void **state)
{
    static const struct mistake_case cases[] = {
        { "a listener's", "metrics = \"0.0.0.0:2222\";\n" ONE(""),
          "W t.conf:1: \"metrics\" is 0.0.0.0:2222, which is not on loopback: every host that "
          "reaches "
          "this address may read them\n"
          "t.conf:1: \"metrics\" is 0.0.0.0:2222, which is already taken (t.conf:3)\n" },
        { "one that a listener's wildcard takes", "metrics = \"127.0.0.1:2222\";\n" ONE(""),
          "t.conf:1: \"metrics\" is 127.0.0.1:2222, which overlaps 0.0.0.0:2222 (t.conf:3)\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void a_wildcard_address_takes_its_port_on_every_address_of_its_family(void **state)
{
    static const struct mistake_case cases[] = {
        { "in one array", LISTENS("[ \"0.0.0.0:5\",\n \"127.0.0.1:5\" ]"),
          "t.conf:3: \"listen\" has 127.0.0.1:5, which overlaps 0.0.0.0:5 (t.conf:2)\n" },
        { "the wildcard comes later", LISTENS("[ \"[::1]:5\", \"127.0.0.1:5\",\n \"[::]:5\" ]"),
          "t.conf:3: \"listen\" has [::]:5, which overlaps [::1]:5 (t.conf:2)\n" },
        { "every one of them is told",
          LISTENS("[ \"0.0.0.0:5\",\n \"192.0.2.1:5\",\n "
                  "\"192.0.2.2:5\", \"192.0.2.2:6\" ]"),
          "t.conf:3: \"listen\" has 192.0.2.1:5, which overlaps 0.0.0.0:5 (t.conf:2)\n"
          "t.conf:4: \"listen\" has 192.0.2.2:5, which overlaps 0.0.0.0:5 (t.conf:2)\n" },
        { "two listeners",
          "listeners = (\n" LISTENER("a", "0.0.0.0:1", "127.0.0.1:9",
                                     "") ",\n" LISTENER("b", "192.0.2.1:1", "127.0.0.1:9", "") ");",
          "t.conf:3: \"listen\" has 192.0.2.1:1, which overlaps 0.0.0.0:1 (t.conf:2)\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void listeners_must_not_collide(void **state)
{
    static const struct mistake_case
        cases[] = {
            { "one name three times",
              "listeners = (\n" LISTENER("b", "0.0.0.0:1", "127.0.0.1:9", "") ",\n" LISTENER(
                  "a", "0.0.0.0:2", "127.0.0.1:9",
                  "") ",\n" LISTENER("b", "0.0.0.0:3", "127.0.0.1:9",
                                     "") ",\n" LISTENER("b", "0.0.0.0:4", "127.0.0.1:9", "") ");",
              "t.conf:4: name \"b\" is already taken (t.conf:2)\n"
              "t.conf:5: name \"b\" is already taken (t.conf:2)\n" },
            { "one address twice",
              "listeners = (\n" LISTENER("a", "[::]:1", "127.0.0.1:9",
                                         "") ",\n" LISTENER("b", "[::]:1", "127.0.0.1:9", "") ");",
              "t.conf:3: \"listen\" has [::]:1, which is already taken (t.conf:2)\n" },
            { "one mark with two tables",
              "listeners = (\n" LISTENER("a", "0.0.0.0:1", "127.0.0.1:9", "mark = 7; table = 70;") ",\n" LISTENER(
                  "b", "0.0.0.0:2", "127.0.0.1:9",
                  "mark = 0x7; table = 70;") ",\n" LISTENER("c", "0.0.0.0:3", "127.0.0.1:9",
                                                            "mark = 7;\ntable = 71;") ","
                                                                                      "\n" LISTENER(
                                                                                          "d",
                                                                                          "0.0.0.0:"
                                                                                          "4",
                                                                                          "127.0.0."
                                                                                          "1:9",
                                                                                          "mark = "
                                                                                          "8; "
                                                                                          "table = "
                                                                                          "71;") ")"
                                                                                                 ";",
              "t.conf:5: mark 7 can't lead to table 71: it leads to table 70 for listener \"a\" "
              "(t.conf:2)\n" },
            { "the default mark with another table",
              "listeners = (\n" LISTENER("a", "0.0.0.0:1", "127.0.0.1:9", "") ",\n" LISTENER(
                  "b", "0.0.0.0:2", "127.0.0.1:9", "table = 71;") ");",
              "t.conf:3: mark 123 can't lead to table 71: it leads to table 100 for listener \"a\" "
              "(t.conf:2)\n" },
            { "nothing is concluded from a refused mark",
              "listeners = (\n" LISTENER(
                  "a", "0.0.0.0:1", "127.0.0.1:9",
                  "mark = 0; table = 5;") ",\n" LISTENER("b", "0.0.0.0:2", "127.0.0.1:9", "") ");",
              "t.conf:2: \"mark\" must be from 1 to 4294967295, not 0\n" },
        };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void keys_without_a_default_are_required(void **state)
{
    static const struct mistake_case cases[] = {
        { "an empty listener", "listeners = ( \n{ } );",
          "t.conf:2: this listener needs the key \"name\"\n"
          "t.conf:2: this listener needs the key \"listen\"\n"
          "t.conf:2: this listener needs the key \"allowed_subnets\"\n"
          "t.conf:2: this listener needs a target: the key \"target_v4\" or \"target_v6\"\n" },
        { "a refused value is told once",
          "listeners = ( { name = \"\"; listen = 5; allowed_subnets = \"\"; target_v4 = \"\"; } );",
          "t.conf:1: \"name\" must be 1 to 63 characters of A-Z a-z 0-9 _ . -, not \"\"\n"
          "t.conf:1: \"target_v4\" is \"\": port is missing\n"
          "t.conf:1: \"allowed_subnets\" must be the path of a file, not empty\n"
          "t.conf:1: \"listen\" must be a string \"ADDR:PORT\" or an array of them, not a "
          "number\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void every_mistake_is_reported_at_once_in_the_order_of_lines(void **state)
{
    static const struct mistake_case cases[] = {
        { "from top to bottom",
          "listeners = (\n" LISTENER(
              "a", "0.0.0.0:1", "127.0.0.1:1",
              "backlog = 0;") ",\n { name = \"a\"; listen = \"0.0.0.0:1\";\n allowed_subnets = "
                              "\"bad.subnets\";\n target_v6 = "
                              "\"[::1]:1\" } );\n log: { levl = 1 };\ndefaults: { mark = 0 "
                              "};\nworkers = \"x\";\n",
          "t.conf:2: \"backlog\" must be from 1 to 1048576, not 0\n"
          "t.conf:2: \"target_v4\" is 127.0.0.1:1, where this mmproxy listens itself (t.conf:2): a "
          "loop\n"
          "t.conf:3: name \"a\" is already taken (t.conf:2)\n"
          "t.conf:3: \"listen\" has 0.0.0.0:1, which is already taken (t.conf:2)\n"
          "bad.subnets:1: \"x\": not an IPv4 or IPv6 address\n"
          "t.conf:6: unknown key \"levl\" (did you mean \"level\"?)\n"
          "t.conf:7: \"mark\" must be from 1 to 4294967295, not 0\n"
          "t.conf:8: \"workers\" must be a whole number, not a string\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void behind_a_thousand_mistakes_the_rest_is_counted(void **state)
{
    static struct reported reported;
    static char text[32 * 1024];
    size_t used = (size_t)sprintf(text, "listeners = ( 0");

    (void)state;
    for (int i = 1; i < 1003; i++)
        used += (size_t)sprintf(text + used, ",\n%d", i);
    sprintf(text + used, " );");
    assert_null(load_text(text, &reported));
    assert_string_equal(strstr(reported.lines, "t.conf:1000: "),
                        "t.conf:1000: a listener must be a group { }, not a number\n"
                        "and 3 more mistakes\n");
}

static int enter(void **state)
{
    enter_folder(state);
    write_file("a.subnets", "192.0.2.0/24\n");
    write_file("bad.subnets", "x\n");
    return 0;
}

#define RANGES(LISTEN, TARGET, EXTRA)                                                  \
    "listeners = ( { name = \"a\"; allowed_subnets = \"a.subnets\";\nlisten = " LISTEN \
    ";\ntarget_v4 = \"" TARGET "\";\n" EXTRA " } );"

static void ranges_of_ports_fit_and_do_not_overlap(void **state)
{
    static const struct mistake_case cases[] = {
        { "backwards", RANGES("\"0.0.0.0:20-10\"", "127.0.0.1:1", ""),
          "t.conf:2: \"listen\" is \"0.0.0.0:20-10\": the range of ports ends before it begins\n" },
        { "no end", RANGES("\"0.0.0.0:20-\"", "127.0.0.1:1", ""),
          "t.conf:2: \"listen\" is \"0.0.0.0:20-\": port is not a number from 1 to 65535\n" },
        { "behind the last port", RANGES("\"0.0.0.0:20-65536\"", "127.0.0.1:1", ""),
          "t.conf:2: \"listen\" is \"0.0.0.0:20-65536\": port is not a number from 1 to 65535\n" },
        { "overlap",
          RANGES("[ \"0.0.0.0:20-30\",\n\"0.0.0.0:30-40\",\n\"0.0.0.0:41\" ]", "127.0.0.1:1", ""),
          "t.conf:3: \"listen\" has 0.0.0.0:30-40, which overlaps 0.0.0.0:20-30 (t.conf:2)\n" },
        { "one inside of another, and one behind it",
          RANGES("[ \"192.0.2.1:10-90\",\n\"192.0.2.1:20\",\n\"192.0.2.1:80-99\" ]", "127.0.0.1:1",
                 ""),
          "t.conf:3: \"listen\" has 192.0.2.1:20, which overlaps 192.0.2.1:10-90 (t.conf:2)\n"
          "t.conf:4: \"listen\" has 192.0.2.1:80-99, which overlaps 192.0.2.1:10-90 (t.conf:2)\n" },
        { "a wildcard's",
          RANGES("[ \"192.0.2.1:15-25\",\n\"0.0.0.0:20-30\", \"0.0.0.0:90\" ]", "127.0.0.1:1", ""),
          "t.conf:3: \"listen\" has 0.0.0.0:20-30, which overlaps 192.0.2.1:15-25 (t.conf:2)\n" },
        { "the same twice", RANGES("[ \"[::]:5-6\",\n \"[::]:5-6\" ]", "127.0.0.1:1", ""),
          "t.conf:3: \"listen\" has [::]:5-6, which is already taken (t.conf:2)\n" },
        { "a loop into a range", RANGES("\"0.0.0.0:20-30\"", "127.0.0.1:25", ""),
          "t.conf:3: \"target_v4\" is 127.0.0.1:25, where this mmproxy listens itself (t.conf:2): "
          "a "
          "loop\n" },
        { "the same port on loopback", RANGES("\"0.0.0.0:20-30\"", "127.0.0.1:same", ""),
          "t.conf:3: \"target_v4\" is 127.0.0.1:20-30, where this mmproxy listens itself "
          "(t.conf:2): a loop\n" },
        { "too short a range", RANGES("\"0.0.0.0:20-30\"", "127.0.0.1:120-129", ""),
          "t.conf:3: \"target_v4\" has 10 ports, but 0.0.0.0:20-30 in \"listen\" has 11: it must "
          "have "
          "as many\n" },
        { "too many ports",
          RANGES("[ \"192.0.2.1:1-65535\", \"192.0.2.2:1-2\" ]", "127.0.0.1:1", ""),
          "t.conf:2: \"listen\" may have at most 65536 ports, not 65537\n" },
        { "the header's without a list", RANGES("\"0.0.0.0:20\"", "127.0.0.1:header", ""),
          "t.conf:3: \"target_v4\" has the port of the header: this listener needs the key "
          "\"header_ports\"\n" },
        { "the header's where we listen",
          RANGES("\"0.0.0.0:20\"", "127.0.0.1:header", "header_ports = \"80,10-30\";"),
          "t.conf:3: \"target_v4\" is 127.0.0.1:10-30, where this mmproxy listens itself "
          "(t.conf:2): "
          "a loop\n" },
        { "no list", RANGES("\"0.0.0.0:20\"", "127.0.0.1:header", "header_ports = \"80,\";"),
          "t.conf:4: \"header_ports\" is \"80,\": port is not a number from 1 to 65535\n" },
        { "the header's for peers that send none",
          RANGES("\"0.0.0.0:20\"", "127.0.0.1:header",
                 "header_ports = \"80\";\ndirect_subnets = [ \"192.0.2.7\" ];"),
          "t.conf:5: \"direct_subnets\" can't go with a target that has the port of the header: "
          "such "
          "peers send none\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void a_load_balancer_s_first_datagram_goes_to_one_port(void **state)
{
    static const char *const udp =
        "protocol = \"udp\"; udp_header = \"first\"; header_ports = \"80\";";
    static struct reported reported;
    static const char *const targets[] = { "192.0.2.1:same", "127.0.0.1:120-130",
                                           "127.0.0.1:header" };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char text[512];
        snprintf(text, sizeof text, RANGES("\"0.0.0.0:20-30\"", "%s", "%s"), targets[i], udp);
        assert_null(load_text(text, &reported));
        assert_non_null(strstr(reported.lines,
                               "t.conf:3: \"target_v4\" can't have several ports with "
                               "udp_header \"first\""));
    }
}

#define MAPS(EXTRA)                                                            \
    "listeners = ( { name = \"a\"; allowed_subnets = \"a.subnets\"; listen = " \
    "\"192.0.2.1:1\";\n" EXTRA " } );"

static void mapped_clients_come_from_nowhere_else(void **state)
{
    static const struct mistake_case cases[] = {
        { "loopback",
          MAPS("target_v4 = \"127.0.0.1:1\"; map_v6 = \"127.0.0.0/9\"; map_v6_anyway = true;"),
          "t.conf:2: \"map_v6\" is 127.0.0.0/9, which overlaps loopback (127.0.0.0/8)\n" },
        { "everything", MAPS("target_v4 = \"127.0.0.1:1\"; map_v6 = \"0.0.0.0/0\";"),
          "t.conf:2: \"map_v6\" is 0.0.0.0/0, which overlaps loopback (127.0.0.0/8)\n" },
        { "this network", MAPS("target_v4 = \"127.0.0.1:1\"; map_v6 = \"0.1.0.0/16\";"),
          "t.conf:2: \"map_v6\" is 0.1.0.0/16, which overlaps the unspecified addresses "
          "(0.0.0.0/8)\n" },
        { "multicast", MAPS("target_v4 = \"127.0.0.1:1\"; map_v6 = \"224.0.0.0/3\";"),
          "t.conf:2: \"map_v6\" is 224.0.0.0/3, which overlaps multicast (224.0.0.0/4)\n" },
        { "broadcast", MAPS("target_v4 = \"127.0.0.1:1\"; map_v6 = \"255.255.255.255\";"),
          "t.conf:2: \"map_v6\" is 255.255.255.255/32, which overlaps the broadcast address "
          "(255.255.255.255/32)\n" },
        { "host bits", MAPS("target_v4 = \"127.0.0.1:1\"; map_v6 = \"240.0.0.1/4\";"),
          "t.conf:2: \"map_v6\" is \"240.0.0.1/4\": bits behind the prefix are set\n" },
        { "the wrong family",
          MAPS(
              "target_v4 = \"127.0.0.1:1\"; map_v6 = \"64:ff9b::/96\";\nmap_v4 = \"240.0.0.0/4\";"),
          "t.conf:2: \"map_v6\" must be an IPv4 prefix, not \"64:ff9b::/96\"\n"
          "t.conf:3: \"map_v4\" must be an IPv6 prefix, not \"240.0.0.0/4\"\n" },
        { "v4-mapped", MAPS("target_v6 = \"[::1]:1\"; map_v4 = \"::ffff:0:0/96\";"),
          "t.conf:2: \"map_v4\" must be an IPv6 prefix, not \"::ffff:0:0/96\"\n" },
        { "IPv6 loopback", MAPS("target_v6 = \"[::1]:1\"; map_v4 = \"::/96\";"),
          "t.conf:2: \"map_v4\" is ::/96, which overlaps loopback (::/96)\n" },
        { "link-local", MAPS("target_v6 = \"[::1]:1\"; map_v4 = \"fe80::/96\";"),
          "t.conf:2: \"map_v4\" is fe80::/96, which overlaps link-local addresses (fe80::/10)\n" },
        { "bits that RFC 6052 reserves",
          MAPS("target_v6 = \"[::1]:1\"; map_v4 = \"2001:db8:1:2:100::/96\";"),
          "t.conf:2: \"map_v4\" is \"2001:db8:1:2:100::/96\": its bits 64 to 71 must be 0 "
          "(RFC 6052)\n" },
        { "no target at all", MAPS("map_v4 = \"64:ff9b::/96\"; map_v6 = \"240.0.0.0/4\";"),
          "t.conf:1: this listener needs a target: the key \"target_v4\" or \"target_v6\"\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_must_be_of_their_family_and_lead_somewhere),
        cmocka_unit_test(addresses_to_listen_on_have_their_own_line),
        cmocka_unit_test(the_metrics_have_an_address_of_their_own),
        cmocka_unit_test(a_wildcard_address_takes_its_port_on_every_address_of_its_family),
        cmocka_unit_test(listeners_must_not_collide),
        cmocka_unit_test(keys_without_a_default_are_required),
        cmocka_unit_test(every_mistake_is_reported_at_once_in_the_order_of_lines),
        cmocka_unit_test(behind_a_thousand_mistakes_the_rest_is_counted),
        cmocka_unit_test(ranges_of_ports_fit_and_do_not_overlap),
        cmocka_unit_test(a_load_balancer_s_first_datagram_goes_to_one_port),
        cmocka_unit_test(mapped_clients_come_from_nowhere_else),
    };

    return cmocka_run_group_tests(tests, enter, leave_folder);
}
