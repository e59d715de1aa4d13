/*
 * test_quantity.c - amounts as people write them.
 */
#include "quantity.h"

#include "hash.h"
#include "testlib.h"

typedef int (*parser)(const char *text, int64_t *ret, struct err *err);
typedef void (*printer)(struct buf *to, int64_t value);

static const struct kind {
    const char *name;
    parser parse;
    printer print;
} kinds[] = {
    {"cpus", quantity_parse_milli, quantity_print_milli},
    {"bytes", quantity_parse_bytes, quantity_print_bytes},
    {"times", quantity_parse_ms, quantity_print_ms},
};

struct example {
    const char *text;
    int64_t value;     /* -1: refused */
    const char *print; /* NULL: as the text */
};

static const struct example cpus[] = {
    {"2", 2000, NULL},
    {"0.5", 500, "500m"},
    {"500m", 500, NULL},
    {"1500m", 1500, "1.5"},
    {"1.5", 1500, NULL},
    {"0", 0, NULL},
    {"0m", 0, "0"},
    {"0.001", 1, "1m"},
    {"1m", 1, NULL},
    {"12.345", 12345, "12345m"},
    {"1.50", 1500, "1.5"},
    {"007", 7000, "7"},
    {"1000m", 1000, "1"},
    {"9223372036854775807m", INT64_MAX, NULL},
    {"0.0005", 1, "1m"},
    {"0.5m", 1, "1m"},
    {"0.0011", 2, "2m"},
    {"0.333333333333333", 334, "334m"},
    {"0.000000000000000001", 1, "1m"},
    {"1Gi", -1, NULL},
    {"-1", -1, NULL},
    {"+1", -1, NULL},
    {"", -1, NULL},
    {"m", -1, NULL},
    {".5", -1, NULL},
    {"1.", -1, NULL},
    {"1.m", -1, NULL},
    {"1.2.3", -1, NULL},
    {" 1", -1, NULL},
    {"1 ", -1, NULL},
    {"1e3", -1, NULL},
    {"0x10", -1, NULL},
    {"9223372036854775808m", -1, NULL},
    {"1,5", -1, NULL},
    {"nan", -1, NULL},
    {"99999999999999999999999999999999999999999999999999999999999999999999999999", -1, NULL},
};

static const struct example bytes[] = {
    {"0", 0, NULL},
    {"1", 1, NULL},
    {"4096", 4096, "4Ki"},
    {"64Ki", 65536, NULL},
    {"1.5Gi", 1610612736, NULL},
    {"2G", 2000000000, NULL},
    {"1k", 1000, NULL},
    {"1000", 1000, "1k"},
    {"1536", 1536, NULL}, /* "1.5Ki" is longer */
    {"512Mi", 536870912, NULL},
    {"500M", 500000000, NULL},
    {"0.5G", 500000000, "500M"},
    {"1Ti", INT64_C(1) << 40, NULL},
    {"3Pi", INT64_C(3) << 50, NULL},
    {"1P", 1000000000000000, NULL},
    {"1T", 1000000000000, NULL},
    {"7M", 7000000, NULL},
    {"9223372036854775807", INT64_MAX, NULL},
    {"8191Pi", INT64_C(8191) << 50, NULL},
    {"12Q", -1, NULL},
    {"0.1Gi", 107374183, "107374183"},
    {"1.1Gi", 1181116007, "1181116007"},
    {"0.3Mi", 314573, "314573"},
    {"0.5", 1, "1"},
    {"0.0Gi", 0, "0"},
    {"1K", -1, NULL},
    {"1gi", -1, NULL},
    {"1GiB", -1, NULL},
    {"1m", -1, NULL},
    {"8192Pi", -1, NULL},
    {"9223372036854775808", -1, NULL},
    {"18446744073709551616", -1, NULL},
    {"99999999999999999999Pi", -1, NULL},
    {"1.0000000000000000000", -1, NULL},
};

static const struct example times[] = {
    {"250ms", 250, NULL},   {"10s", 10000, NULL}, {"5m", 300000, NULL}, {"2h", 7200000, NULL},
    {"1d", 86400000, NULL}, {"10", 10000, "10s"}, {"0", 0, "0s"},       {"1.5s", 1500, NULL},
    {"0.25", 250, "250ms"}, {"90s", 90000, NULL}, {"60s", 60000, "1m"}, {"36h", 129600000, NULL},
    {"1.5ms", 2, "2ms"},    {"10 s", -1, NULL},   {"5min", -1, NULL},   {"1w", -1, NULL},
    {"-5s", -1, NULL},      {"s", -1, NULL},      {"1h30m", -1, NULL},  {"0.0001s", 1, "1ms"},
};

static void check_examples(const struct kind *kind, const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct example *e = &examples[i];
        CLEANUP(buf_release) struct buf printed = {0};
        int64_t value = -7;
        if (e->value == -1) {
            T_REFUSED(kind->parse(e->text, &value, &t_err), ERR_INVALID);
            char quoted[64];
            snprintf(quoted, sizeof quoted, "\"%.40s", e->text);
            T_CONTAINS(t_err.msg, quoted);
            T_CONTAINS(t_err.msg, "is not a quantity");
            ck_assert_int_eq(value, -7);
            continue;
        }
        T_OK(kind->parse(e->text, &value, &t_err));
        ck_assert_msg(value == e->value, "%s \"%s\" is %" PRId64, kind->name, e->text, value);
        kind->print(&printed, value);
        ck_assert_str_eq(buf_text(&printed), e->print == NULL ? e->text : e->print);
    }
}

START_TEST(cpus_are_thousandths)
{
    check_examples(&kinds[0], cpus, ARRAY_SIZE(cpus));
}
END_TEST

START_TEST(bytes_have_decimal_and_binary_units)
{
    check_examples(&kinds[1], bytes, ARRAY_SIZE(bytes));
}
END_TEST

START_TEST(times_are_milliseconds_and_bare_numbers_seconds)
{
    check_examples(&kinds[2], times, ARRAY_SIZE(times));
}
END_TEST

static void check_round_trip(const struct kind *kind, int64_t value)
{
    CLEANUP(buf_release) struct buf printed = {0};
    int64_t again = -1;
    kind->print(&printed, value);
    T_OK(kind->parse(buf_text(&printed), &again, &t_err));
    ck_assert_msg(again == value, "%s: %" PRId64 " prints as %s", kind->name, value,
                  buf_text(&printed));
    char plain[32];
    snprintf(plain, sizeof plain, "%" PRId64 "ms", value);
    ck_assert_uint_le(printed.size, strlen(plain));
}

START_TEST(what_is_printed_reads_as_the_same_value)
{
    static const int64_t around[] = {0,     1000,    1024,     1000000,          1048576,
                                     60000, 3600000, 86400000, INT64_C(1) << 40, INT64_C(1) << 50};
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        for (uint64_t seed = 0; seed < 50000; seed++)
            check_round_trip(&kinds[k], (int64_t)(hash_u64(seed + 1) >> (1 + seed % 63)));
        for (size_t i = 0; i < ARRAY_SIZE(around); i++)
            for (int64_t off = -3; off <= 3; off++)
                check_round_trip(&kinds[k], MAX(around[i] * 7 / 2 + off, INT64_C(0)));
        check_round_trip(&kinds[k], INT64_MAX);
    }
}
END_TEST

START_TEST(differences_print_with_their_sign)
{
    CLEANUP(buf_release) struct buf printed = {0};
    quantity_print_milli(&printed, -500);
    buf_append(&printed, " ", 1);
    quantity_print_bytes(&printed, -(INT64_C(3) << 30));
    buf_append(&printed, " ", 1);
    quantity_print_ms(&printed, INT64_MIN);
    ck_assert_str_eq(buf_text(&printed), "-500m -3Gi -9223372036854775808ms");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quantity");
    TCase *tcase = tcase_create("quantity");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, cpus_are_thousandths);
    tcase_add_test(tcase, bytes_have_decimal_and_binary_units);
    tcase_add_test(tcase, times_are_milliseconds_and_bare_numbers_seconds);
    tcase_add_test(tcase, what_is_printed_reads_as_the_same_value);
    tcase_add_test(tcase, differences_print_with_their_sign);
    suite_add_tcase(suite, tcase);
    return t_main(suite);
}
