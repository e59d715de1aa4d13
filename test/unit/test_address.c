/*
 * test_address.c - parse and print "host:port".
 */
#include "stream.h"

#include "testlib.h"

START_TEST(addresses_are_parsed_and_printed)
{
    static const struct {
        const char *text;
        const char *printed; /* NULL: refused */
    } cases[] = {
        {"127.0.0.1:80", "127.0.0.1:80"},
        {"0.0.0.0:0", "0.0.0.0:0"},
        {"[::1]:65535", "[::1]:65535"},
        {"[0:0::1]:7", "[::1]:7"},
        {"127.0.0.1", NULL},
        {"127.0.0.1:", NULL},
        {":80", NULL},
        {"[]:80", NULL},
        {"::1:80", NULL},
        {"[127.0.0.1]:80", NULL},
        {"[:z1]:80", NULL},
        {"127.0.0.1:65536", NULL},
        {"127.0.0.1:-1", NULL},
        {"127.0.0.1:8o", NULL},
        {"a b:80", NULL},
        {"", NULL},
        {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx:80", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sockaddr_storage address;
        char printed[CELL_ADDR_MAX + 1];
        if (cases[i].printed == NULL) {
            T_REFUSED(address_parse(cases[i].text, &address, &t_err), ERR_INVALID);
            continue;
        }
        T_OK(address_parse(cases[i].text, &address, &t_err));
        address_print(&address, printed);
        if (cases[i].printed[0] != '\0')
            ck_assert_str_eq(printed, cases[i].printed);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("address");
    TCase *tcase = tcase_create("address");
    tcase_add_test(tcase, addresses_are_parsed_and_printed);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
