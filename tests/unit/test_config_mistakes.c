/* SPDX-License-Identifier: BSD-2-Clause */
/* Mistakes in syntax, in keys and in their values, each with its exact line. */
#include "config_check.h"

#define NAME64 "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd"

static void unknown_keys_are_reported_with_the_nearest_known_one(void **state)
{
    static const struct mistake_case cases[] = {
        { "one letter is missing", ONE("\nheader_timout = 5;"),
          "t.conf:3: unknown key \"header_timout\" (did you mean \"header_timeout\"?)\n" },
        { "two letters are swapped", ONE("\nbakclog = 5;"),
          "t.conf:3: unknown key \"bakclog\" (did you mean \"backlog\"?)\n" },
        { "a hyphen for an underscore", ONE("\ntarget-v6 = 5;"),
          "t.conf:3: unknown key \"target-v6\" (did you mean \"target_v6\"?)\n" },
        { "capitals count", "Workers = 5;",
          "t.conf:1: unknown key \"Workers\" (did you mean \"workers\"?)\n" },
        { "at the top level", "\n\nlisteners: ( );\nlistner = ( );",
          "t.conf:4: unknown key \"listner\" (did you mean \"listeners\"?)\n" },
        { "in log", "log: {\n targets = \"auto\" }",
          "t.conf:2: unknown key \"targets\" (did you mean \"target\"?)\n" },
        { "in defaults", "defaults: {\n keep_alive = 4 }",
          "t.conf:2: unknown key \"keep_alive\" (did you mean \"keepalive\"?)\n" },
        { "nothing is near", "zzz = 1;", "t.conf:1: unknown key \"zzz\"\n" },
        { "a long name", NAME64 NAME64 NAME64 " = 1;",
          "t.conf:1: unknown key \"" NAME64
          "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddd"
          "\"\n" },
        { "a listener's key at the top level", "mark = 1;",
          "t.conf:1: unknown key \"mark\" here (it belongs in a listener)\n" },
        { "a top-level key in a listener", ONE("\nsandbox = true;"),
          "t.conf:3: unknown key \"sandbox\" here (it belongs at the top level)\n" },
        { "a log key at the top level", "level = \"info\";",
          "t.conf:1: unknown key \"level\" here (it belongs in \"log\")\n" },
        { "a listener's own key in defaults", "defaults: { name = \"a\";\n listen = 5; }",
          "t.conf:1: \"name\" belongs in a listener, not in \"defaults\"\n"
          "t.conf:2: \"listen\" belongs in a listener, not in \"defaults\"\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void wrong_types_say_what_is_wanted_and_what_was_found(void **state)
{
    static const struct mistake_case cases[] = {
        { "a string for a whole number", "workers = \"4\";",
          "t.conf:1: \"workers\" must be a whole number, not a string\n" },
        { "a fraction for a whole number", "workers = 1.5;",
          "t.conf:1: \"workers\" must be a whole number, not 1.5\n" },
        { "a boolean for a whole number", "workers = true;",
          "t.conf:1: \"workers\" must be a whole number, not a boolean\n" },
        { "a string for seconds", "drain_timeout = \"30\";",
          "t.conf:1: \"drain_timeout\" must be a number of seconds, not a string\n" },
        { "a number for a boolean", "sandbox = 1;",
          "t.conf:1: \"sandbox\" must be true or false, not a number\n" },
        { "a string for a boolean", "sandbox = \"yes\";",
          "t.conf:1: \"sandbox\" must be true or false, not a string\n" },
        { "a boolean for a word", "routing = true;",
          "t.conf:1: \"routing\" must be \"manual\" or \"managed\", not a boolean\n" },
        { "a number for a user", "user = 1000;",
          "t.conf:1: \"user\" must be the name of a user, not a number\n" },
        { "a string for a group", "log = \"info\";",
          "t.conf:1: \"log\" must be a group { }, not a string\n" },
        { "a list for a group", "\ndefaults = ( );",
          "t.conf:2: \"defaults\" must be a group { }, not a list ( )\n" },
        { "a group for a list", "listeners: { };",
          "t.conf:1: \"listeners\" must be a list ( ), not a group { }\n" },
        { "an array for a list", "listeners = [ \"a\" ];",
          "t.conf:1: \"listeners\" must be a list ( ), not an array [ ]\n" },
        { "a string for a listener", "listeners = (\n \"a\",\n 5, [ ] );",
          "t.conf:2: a listener must be a group { }, not a string\n"
          "t.conf:3: a listener must be a group { }, not a number\n"
          "t.conf:3: a listener must be a group { }, not an array [ ]\n" },
        { "a group for a number", ONE("\nmark: { };"),
          "t.conf:3: \"mark\" must be a whole number, not a group { }\n" },
        { "an array of numbers to listen on",
          "listeners = ( { name = \"a\"; listen = [ 1,\n 2 ]; allowed_subnets = \"a.subnets\"; "
          "target_v4 = \"127.0.0.1:1\" } );",
          "t.conf:1: \"listen\" must be a string \"ADDR:PORT\" or an array of them, not a number\n"
          "t.conf:2: \"listen\" must be a string \"ADDR:PORT\" or an array of them, not a "
          "number\n" },
        { "a number for a target", "defaults: { target_v4 = 22; target_v6 = 22 }",
          "t.conf:1: \"target_v4\" must be a string \"ADDR:PORT\", not a number\n"
          "t.conf:1: \"target_v6\" must be a string \"[ADDR]:PORT\", not a number\n" },
        { "a number for a path", "defaults: { allowed_subnets = 22 }",
          "t.conf:1: \"allowed_subnets\" must be the path of a file or an array of subnets, not a "
          "number\n" },
        { "a number for a name",
          "listeners = ( { name = 5; listen = \"0.0.0.0:1\"; allowed_subnets = \"a.subnets\"; "
          "target_v4 = \"127.0.0.1:2\" } );",
          "t.conf:1: \"name\" must be a string, not a number\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void values_out_of_range_say_the_range(void **state)
{
    static const struct mistake_case cases[] = {
        { "workers", "workers = 1025;\n",
          "t.conf:1: \"workers\" must be from 0 to 1024, not 1025\n" },
        { "negative", "workers = -1;", "t.conf:1: \"workers\" must be from 0 to 1024, not -1\n" },
        { "what 32 bits would have made 123 of", ONE("\nmark = 4294967419;"),
          "t.conf:3: \"mark\" must be from 1 to 4294967295, not 4294967419\n" },
        { "the same in hex", ONE("\nmark = 0x10000007b;"),
          "t.conf:3: \"mark\" must be from 1 to 4294967295, not 0x10000007b\n" },
        { "more than 64 bits", ONE("\nmark = 99999999999999999999;"),
          "t.conf:3: \"mark\" must be from 1 to 4294967295, not 9223372036854775807\n" },
        { "mark 0", ONE("\nmark = 0;"),
          "t.conf:3: \"mark\" must be from 1 to 4294967295, not 0\n" },
        { "table 0", ONE("\ntable = 0x0;"),
          "t.conf:3: \"table\" must be from 1 to 4294967295, not 0x0\n" },
        { "table 253", ONE("\ntable = 253;"),
          "t.conf:3: \"table\" must not be 253: that is the kernel's own table \"default\"\n" },
        { "table 254", ONE("\ntable = 0xfe;"),
          "t.conf:3: \"table\" must not be 254: that is the kernel's own table \"main\"\n" },
        { "table 255", ONE("\ntable = 255;"),
          "t.conf:3: \"table\" must not be 255: that is the kernel's own table \"local\"\n" },
        { "no header timeout", ONE("\nheader_timeout = 0;"),
          "t.conf:3: \"header_timeout\" must be from 0.001 to 86400 seconds, not 0\n" },
        { "a negative connect timeout", ONE("\nconnect_timeout = -0.5;"),
          "t.conf:3: \"connect_timeout\" must be from 0.001 to 86400 seconds, not -0.5\n" },
        { "less than a millisecond", ONE("\nidle_timeout = 0.0009;"),
          "t.conf:3: \"idle_timeout\" must be 0 or from 0.001 to 2592000 seconds, not 0.0009\n" },
        { "longer than a month", "drain_timeout = 2592001;",
          "t.conf:1: \"drain_timeout\" must be 0 or from 0.001 to 2592000 seconds, not 2592001\n" },
        { "infinite", "drain_timeout = 1e999;",
          "t.conf:1: \"drain_timeout\" must be 0 or from 0.001 to 2592000 seconds, not inf\n" },
        { "keepalive", ONE("\nkeepalive = 32768;"),
          "t.conf:3: \"keepalive\" must be from 0 to 32767, not 32768\n" },
        { "max_sessions", ONE("\nmax_sessions = 2147483648;"),
          "t.conf:3: \"max_sessions\" must be from 0 to 2147483647, not 2147483648\n" },
        { "max_sessions_per_client", ONE("\nmax_sessions_per_client = -1;"),
          "t.conf:3: \"max_sessions_per_client\" must be from 0 to 2147483647, not -1\n" },
        { "max_pending", ONE("\nmax_pending = 0;"),
          "t.conf:3: \"max_pending\" must be from 1 to 1048576, not 0\n" },
        { "backlog", ONE("\nbacklog = 0;"),
          "t.conf:3: \"backlog\" must be from 1 to 1048576, not 0\n" },
        { "a word", "log: { level = \"loud\"; target = \"\"; format = \"JSON\" }",
          "t.conf:1: \"level\" must be \"error\", \"warning\", \"notice\", \"info\" or \"debug\", "
          "not \"loud\"\n"
          "t.conf:1: \"target\" must be \"auto\", \"stderr\", \"syslog\" or \"journal\", not \"\"\n"
          "t.conf:1: \"format\" must be \"text\" or \"json\", not \"JSON\"\n" },
        { "words of a listener", ONE("\nreturn_path = \"fw\";\nclient_port = \"keep\";"),
          "t.conf:3: \"return_path\" must be \"auto\", \"loopback\", \"fwmark\", \"connmark\", "
          "\"routed\" or \"flows\", "
          "not \"fw\"\n"
          "t.conf:4: \"client_port\" must be \"preserve\" or \"any\", not \"keep\"\n" },
        { "flows for TCP", ONE("\nreturn_path = \"flows\";"),
          "t.conf:3: \"return_path\" can't be \"flows\" for TCP: it is for UDP alone\n" },
        { "a user that does not exist", "\nuser = \"no-such-user\";",
          "t.conf:2: \"user\" is \"no-such-user\", but there is no such user\n" },
        { "an empty user", "user = \"\";",
          "t.conf:1: \"user\" is \"\", but there is no such user\n" },
        { "control characters stay on one line", "routing = \"a\\nb\\n\\x1bc\\x7f\";",
          "t.conf:1: \"routing\" must be \"manual\" or \"managed\", not "
          "\"a\\x0ab\\x0a\\x1bc\\x7f\"\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

#define NAMED(NAME)                                                                         \
    "listeners = ( { listen = \"0.0.0.0:1\"; allowed_subnets = \"a.subnets\"; target_v4 = " \
    "\"127.0.0.1:2\";\nname = \"" NAME "\"; } );"
#define NAME_RULE "t.conf:2: \"name\" must be 1 to 63 characters of A-Z a-z 0-9 _ . -, not "

static void names_must_be_plain(void **state)
{
    static const struct mistake_case cases[] = {
        { "empty", NAMED(""), NAME_RULE "\"\"\n" },
        { "a blank", NAMED("a b"), NAME_RULE "\"a b\"\n" },
        { "a slash", NAMED("../x"), NAME_RULE "\"../x\"\n" },
        { "64 characters", NAMED(NAME64), NAME_RULE "\"" NAME64 "\"\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void syntax_errors_have_their_line(void **state)
{
    static const struct mistake_case cases[] = {
        { "two values", "a = 1 2;", "t.conf:1: a key is missing in front of \"2\"\n" },
        { "one key twice", "workers = 1;\nuser = \"root\";\nworkers = 2;",
          "t.conf:3: \"workers\" is there twice (t.conf:1)\n" },
        { "mixed types in an array", "listeners = ( { listen = [ 1,\n \"a\" ] } );",
          "t.conf:2: mismatched element type in array\n" },
        { "a semicolon too many", "sandbox = TRUE;\n;", "t.conf:2: unexpected \";\"\n" },
        { "an equals sign too many", "sandbox == true;",
          "t.conf:1: the value of \"sandbox\" is missing\n" },
        { "a comment without an end", "\n/* user = \"root;\n\nworkers = 5;\n",
          "t.conf:2: this comment has no end\n" },
        { "a character that means nothing", "\nworkers = 5%;\n", "t.conf:2: unexpected \"%\"\n" },
        { "a byte that means nothing", "\nworkers = \xc3\xa4;\n",
          "t.conf:2: unexpected byte 0xc3\n" },
        { "a sign without a number", "workers = -;", "t.conf:1: unexpected \"-\"\n" },
        { "a dot without a number", "workers = .;",
          "t.conf:1: \"workers\" must be a whole number, not 0\n" },
        { "an @ that includes nothing", "workers = 1; @include \"a\"\n",
          "t.conf:1: a line that starts with @ must be: @include \"FILE\"\n" },
        { "an @include without quotes", "\n  @include a\n",
          "t.conf:2: a line that starts with @ must be: @include \"FILE\"\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static void what_is_missing_is_reported_where_it_is_missing(void **state)
{
    static const struct mistake_case cases[] = {
        { "no value", "\n\nworkers = ;", "t.conf:3: the value of \"workers\" is missing\n" },
        { "no value in front of the next key", "user = \nworkers = 5;\n",
          "t.conf:1: the value of \"user\" is missing\n" },
        { "a file that is cut off, told at a line that it has", "workers = 1;\nuser",
          "t.conf:2: \"=\" is missing behind \"user\"\n" },
        { "a setting that is cut off before empty lines and comments", "\nuser =\n\n# end\n",
          "t.conf:2: the value of \"user\" is missing\n" },
        { "no equals sign", "\nuser\n \"root\";", "t.conf:2: \"=\" is missing behind \"user\"\n" },
        { "no equals sign before a group", "log {\n};",
          "t.conf:1: \"=\" is missing behind \"log\"\n" },
        { "no key", "user = \"root\",\n\"root\";",
          "t.conf:2: a string can't stand here: a key is missing in front of it, or the key is in "
          "quotes\n" },
        { "no key before a group", "workers = 1;\n{ };\n",
          "t.conf:2: a key is missing in front of this \"{\"\n" },
        { "no comma between listeners", "listeners = (\n{ }\n\n# c\n{ }\n);",
          "t.conf:2: a comma is missing between two listeners\n" },
        { "no comma between strings", "listeners = ( { listen = [ \"a\"\n\n\"b\" ] } );",
          "t.conf:1: a comma is missing between two elements of \"listen\"\n" },
        { "no comma in an unknown list", "a = ( ( 1,\n 2\n \"x\" ) );",
          "t.conf:2: a comma is missing between two elements of \"a\"\n" },
        { "a semicolon for a comma", "listeners = (\n{ };\n{ }\n);",
          "t.conf:2: \";\" can't stand in \"(\": a comma stands between elements, and \")\" behind "
          "the last one\n" },
        { "an array that is not closed", "listeners = ( { listen = [ \"a\";\n } );",
          "t.conf:1: \";\" can't stand in \"[\": a comma stands between elements, and \"]\" behind "
          "the last one\n" },
        { "an array without bracket and semicolon",
          "listeners = ( {\n listen = [ \"a\"\n target_v4 = \"b\" } );",
          "t.conf:2: \"]\" is missing in front of \"target_v4\"\n" },
        { "a list that is not closed", "listeners = (\n{ }\n\nlog: { };\n",
          "t.conf:2: \")\" is missing in front of \"log\"\n" },
        { "a comma behind the last listener", "listeners = (\n{ },\n);",
          "t.conf:2: no comma may stand behind the last element\n" },
        { "a comma in front of the first", "listeners = (\n, { } );",
          "t.conf:2: an element is missing in front of this \",\"\n" },
        { "no brace before a listener", "listeners = (\n { },\n name = \"a\"; } );",
          "t.conf:3: \"{\" is missing in front of \"name\"\n" },
        { "no brace behind a listener", "listeners = (\n { mark = 1;\n\n, { } );",
          "t.conf:2: \"}\" is missing in front of the next \",\"\n" },
        { "no brace and no comma behind a listener", "listeners = (\n { mark = 1;\n\n{ } );",
          "t.conf:2: \"}\" is missing in front of the next \"{\"\n" },
        { "a brace that is never closed", "log: {\nlisteners = (\n( ) );\n\n",
          "t.conf:1: this \"{\" is never closed\n" },
        { "the wrong bracket", "\nlisteners = ( {\n );\n",
          "t.conf:3: \"}\" is missing before this \")\": the \"{\" of t.conf:2 is open\n" },
        { "a bracket too many", "\nlisteners = ( ) );\n", "t.conf:2: \")\" closes nothing\n" },
        { "a group in an array", "a = [\n{ } ];",
          "t.conf:2: \"{\" can't stand in an array [ ]: only a list ( ) may hold it\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

#define NOT_CLOSED "this string is not closed: the quote opened here has no end in this line\n"

static void missing_quotes_are_reported_in_their_line(void **state)
{
    static const struct mistake_case cases[] = {
        { "none at the end", "user = \"root;\n\nworkers = 5;\n", "t.conf:1: " NOT_CLOSED },
        { "none at the end, and more strings behind", "\nuser = \"root;\nrouting = \"managed\";\n",
          "t.conf:2: " NOT_CLOSED },
        { "a quote that is the whole file", "\"", "t.conf:1: " NOT_CLOSED },
        { "none at the end, and a string in the same line",
          "listeners = ( {\n name = \"a; listen = "
          "\"[::]:1\"; } );",
          "t.conf:2: a quote is missing: something stands directly behind the string \"a; listen = "
          "\"\n" },
        { "none at the start", "\nuser = root\";\n",
          "t.conf:2: \"root\" needs quotes: without them a value is a number, true or false\n" },
        { "none at all", "sandbox = yes;\n",
          "t.conf:1: \"yes\" needs quotes: without them a value is a number, true or false\n" },
        { "none in an array", "a = [ b,\n c ];",
          "t.conf:1: \"b\" needs quotes: without them a value is a number, true or false\n" },
        { "an IPv4 address", "a = 0.0.0.0:2222;",
          "t.conf:1: 0.0.0.0:2222 is no number: addresses and words stand in quotes\n" },
        { "an IPv4 subnet", "a = [ 192.0.2.0/24 ];",
          "t.conf:1: 192.0.2.0/24 is no number: addresses and words stand in quotes\n" },
        { "an IPv6 address", "a = [::]:2222;",
          "t.conf:1: unexpected \":\": an address stands in quotes\n" },
        { "single quotes", "\nuser = 'root';",
          "t.conf:2: strings stand in plain double quotes (\"), not in other ones\n" },
        { "typographic quotes", "user = \xe2\x80\x9croot\xe2\x80\x9d;",
          "t.conf:1: strings stand in plain double quotes (\"), not in other ones\n" },
    };

    (void)state;
    CHECK_MISTAKES(cases);
}

static int enter(void **state)
{
    enter_folder(state);
    write_file("a.subnets", "192.0.2.0/24\n");
    write_file("bad.subnets", "x\n");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_keys_are_reported_with_the_nearest_known_one),
        cmocka_unit_test(wrong_types_say_what_is_wanted_and_what_was_found),
        cmocka_unit_test(values_out_of_range_say_the_range),
        cmocka_unit_test(names_must_be_plain),
        cmocka_unit_test(syntax_errors_have_their_line),
        cmocka_unit_test(what_is_missing_is_reported_where_it_is_missing),
        cmocka_unit_test(missing_quotes_are_reported_in_their_line),
    };

    return cmocka_run_group_tests(tests, enter, leave_folder);
}
