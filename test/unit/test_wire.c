/*
 * test_wire.c - every message survives the way; nothing else gets in.
 */
#include "hostile.h"
#include "random_wire.h"

#include <check.h>
#include <stdlib.h>

enum { ROUNDS = 200, HOSTILE_MESSAGES = 60, HOSTILE_COPIES = 60 };

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return hostile_asan_options();
}

static bool same_value(const struct wire_value *a, const struct wire_value *b)
{
    return a->type == b->type && a->integer == b->integer &&
           memcmp(&a->real, &b->real, sizeof a->real) == 0 &&
           (a->text != NULL) == (b->text != NULL) &&
           (a->text == NULL || strcmp(a->text, b->text) == 0);
}

static bool same_rows(const struct wire_rows *a, const struct wire_rows *b)
{
    if (a->applied_index != b->applied_index || a->column_count != b->column_count ||
        a->row_count != b->row_count)
        return false;
    for (uint32_t i = 0; i < a->column_count; i++)
        if (strcmp(a->columns[i], b->columns[i]) != 0)
            return false;
    for (size_t i = 0; i < (size_t)a->column_count * a->row_count; i++)
        if (!same_value(&a->values[i], &b->values[i]))
            return false;
    return true;
}

static bool same(const struct wire_message *m, const union wire_any *a, const union wire_any *b)
{
    return m->record != NULL ? record_equal(m->record, a, b) : same_rows(&a->rows, &b->rows);
}

START_TEST(every_message_survives_the_way)
{
    const struct wire_message *m = &wire_messages[_i];
    struct random random = {(uint64_t)_i};
    for (int round = 0; round < ROUNDS; round++) {
        union wire_any body, back;
        struct buf bytes = {0}, again = {0};
        struct err err = {0};
        message_random(m, &random, &body);
        message_pack(m, &bytes, &body);
        ck_assert_msg(message_unpack(m, bytes.bytes, bytes.size, &back, &err) == 0, "%s: %s",
                      m->name, err.msg);
        ck_assert_msg(same(m, &body, &back), "%s", m->name);
        message_pack(m, &again, &back);
        ck_assert(same_bytes(bytes.bytes, bytes.size, again.bytes, again.size));
        message_release(m, &body), message_release(m, &back);
        buf_release(&bytes), buf_release(&again);
    }
}
END_TEST

START_TEST(a_list_longer_than_a_borglet_may_send_is_refused_before_it_is_read)
{
    union wire_any body;
    struct err err;
    static const struct {
        const char *name;
        uint32_t max;
    } lists[] = {{"reports", CMD_REPORTS_MAX}, {"usages", CMD_USAGES_MAX}};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        struct buf bytes = {0};
        buf_append(&bytes, "\x91\xdd", 2);
        for (int shift = 24; shift >= 0; shift -= 8)
            buf_append(&bytes, &(char){(char)((lists[i].max + 1) >> shift)}, 1);
        for (uint32_t at = 0; at <= lists[i].max; at++)
            buf_append(&bytes, "\xc0", 1);
        int rv = i == 0 ? wire_unpack_reports(bytes.bytes, bytes.size, &body.reports, &err)
                        : wire_unpack_usages(bytes.bytes, bytes.size, &body.usages, &err);
        ck_assert_int_eq(rv, -ERR_CORRUPT);
        ck_assert_msg(strstr(err.msg, "list too long") != NULL, "%s", err.msg);
        buf_release(&bytes);
    }
}
END_TEST

START_TEST(every_truncation_of_a_message_is_refused)
{
    const struct wire_message *m = &wire_messages[_i];
    struct random random = {(uint64_t)_i};
    for (int round = 0; round < 10; round++) {
        union wire_any body, back;
        struct buf bytes = {0};
        message_random(m, &random, &body);
        message_pack(m, &bytes, &body);
        for (size_t size = 0; size < bytes.size; size++) {
            struct err err = {0};
            uint8_t *cut = xcalloc(size + (size == 0), 1);
            memcpy(cut, bytes.bytes, size);
            ck_assert_int_eq(message_unpack(m, cut, size, &back, &err), -ERR_CORRUPT);
            ck_assert_str_ne(err.msg, "");
            free(cut);
        }
        buf_append(&bytes, "", 1);
        ck_assert_int_eq(message_unpack(m, bytes.bytes, bytes.size, &back, NULL), -ERR_CORRUPT);
        message_release(m, &body);
        buf_release(&bytes);
    }
}
END_TEST

/* One damaged copy: refused, or a message that survives the way from now on. */
static bool refuses_damage(const struct wire_message *m, struct random *random,
                           const struct buf *bytes)
{
    size_t size;
    union wire_any back, twice;
    struct buf again = {0};
    uint8_t *bad = hostile_copy(random, bytes, &size);
    bool refused = message_unpack(m, bad, size, &back, NULL) != 0;
    if (!refused) {
        message_pack(m, &again, &back);
        ck_assert_int_eq(message_unpack(m, again.bytes, again.size, &twice, NULL), 0);
        ck_assert(same(m, &back, &twice));
        message_release(m, &back), message_release(m, &twice);
    }
    buf_release(&again);
    free(bad);
    return refused;
}

START_TEST(damaged_messages_never_crash)
{
    const struct wire_message *m = &wire_messages[_i];
    struct random random = {(uint64_t)_i + 77};
    uint32_t refused = 0;
    hostile_limit_memory();
    for (int round = 0; round < HOSTILE_MESSAGES; round++) {
        union wire_any body;
        struct buf bytes = {0};
        message_random(m, &random, &body);
        message_pack(m, &bytes, &body);
        for (int n = 0; n < HOSTILE_COPIES; n++)
            refused += refuses_damage(m, &random, &bytes);
        message_release(m, &body);
        buf_release(&bytes);
    }
    ck_assert_uint_gt(refused, 0);
}
END_TEST

/* Also those that only one end has: a code that was appended must be told. */
START_TEST(every_error_code_is_answered){
#define X(name, number, text) \
    { \
        struct wire_answer answer = {.code = ERR_##name, .msg = text}, back; \
        struct buf bytes = {0}; \
        wire_pack_answer(&bytes, &answer); \
        ck_assert_int_eq(wire_unpack_answer(bytes.bytes, bytes.size, &back, NULL), 0); \
        ck_assert_int_eq(back.code, (number)); \
        ck_assert_str_eq(back.msg, err_code_text(back.code)); \
        buf_release(&bytes); \
    }
    ERR_CODES(X)
#undef X
} END_TEST

    START_TEST(a_message_beyond_its_limits_is_refused_by_who_reads_it)
{
    struct wire_answer answer = {.code = (enum err_code)ERR_CODE_COUNT}, answered;
    struct wire_replicas replicas = {.address_count = MASTER_ROWS_MAX + 1}, told;
    struct wire_hello hello = {0}, said;
    struct buf bytes = {0};
    wire_pack_answer(&bytes, &answer);
    ck_assert_int_eq(wire_unpack_answer(bytes.bytes, bytes.size, &answered, NULL), -ERR_CORRUPT);
    buf_clear(&bytes);
    replicas.addresses = xcalloc(replicas.address_count, sizeof *replicas.addresses);
    wire_pack_replicas(&bytes, &replicas);
    ck_assert_int_eq(wire_unpack_replicas(bytes.bytes, bytes.size, &told, NULL), -ERR_CORRUPT);
    buf_clear(&bytes);
    for (int i = 0; i <= MACHINE_ATTRIBUTES_MAX; i++)
        words_add(&hello.attributes, "a=b");
    wire_pack_hello(&bytes, &hello);
    ck_assert_int_eq(wire_unpack_hello(bytes.bytes, bytes.size, &said, NULL), -ERR_CORRUPT);
    wire_replicas_release(&replicas);
    wire_hello_release(&hello);
    buf_release(&bytes);
}
END_TEST

START_TEST(a_query_longer_than_its_limit_is_refused)
{
    struct wire_query query = {.sql = xcalloc(QUERY_SQL_MAX + 2, 1)}, back;
    struct buf bytes = {0};
    memset(query.sql, 'x', QUERY_SQL_MAX + 1);
    wire_pack_query(&bytes, &query);
    ck_assert_int_eq(wire_unpack_query(bytes.bytes, bytes.size, &back, NULL), -ERR_CORRUPT);
    query.sql[QUERY_SQL_MAX] = '\0';
    buf_clear(&bytes);
    wire_pack_query(&bytes, &query);
    ck_assert_int_eq(wire_unpack_query(bytes.bytes, bytes.size, &back, NULL), 0);
    ck_assert_str_eq(back.sql, query.sql);
    wire_query_release(&back), wire_query_release(&query);
    buf_release(&bytes);
}
END_TEST

START_TEST(rows_that_are_not_there_are_refused)
{
    static const struct {
        const char *what;
        uint8_t bytes[16];
        size_t size;
    } cases[] = {
        {"2 rows of 1 column, 1 value", {0x94, 0, 0x91, 0xa0, 2, 0x91, 1}, 7},
        {"rows of no columns", {0x94, 0, 0x90, 9, 0x90}, 5},
        {"2^32 - 1 values", {0x94, 0, 0x91, 0xa0, 1, 0xdd, 0xff, 0xff, 0xff, 0xff, 1}, 11},
        {"2^16 columns", {0x94, 0, 0xdd, 0, 1, 0, 0, 0xa0}, 8},
        {"a value that is an array", {0x94, 0, 0x91, 0xa0, 1, 0x91, 0x90}, 7},
        {"an integer beyond SQLite's",
         {0x94, 0, 0x91, 0xa0, 1, 0x91, 0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0},
         15},
    };
    hostile_limit_memory();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct wire_rows rows;
        ck_assert_msg(wire_unpack_rows(cases[i].bytes, cases[i].size, &rows, NULL) == -ERR_CORRUPT,
                      "%s", cases[i].what);
    }
}
END_TEST

START_TEST(an_empty_body_is_no_message)
{
    union wire_any back;
    ck_assert_int_eq(message_unpack(&wire_messages[_i], NULL, 0, &back, NULL), -ERR_CORRUPT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire");
    TCase *way = tcase_create("way");
    tcase_add_test(way, every_error_code_is_answered);
    tcase_add_test(way, a_message_beyond_its_limits_is_refused_by_who_reads_it);
    tcase_add_loop_test(way, every_message_survives_the_way, 0, WIRE_MESSAGES);
    suite_add_tcase(suite, way);
    TCase *bad = tcase_create("bad");
    tcase_set_timeout(bad, 120);
    tcase_add_test(bad, a_list_longer_than_a_borglet_may_send_is_refused_before_it_is_read);
    tcase_add_loop_test(bad, every_truncation_of_a_message_is_refused, 0, WIRE_MESSAGES);
    tcase_add_loop_test(bad, damaged_messages_never_crash, 0, WIRE_MESSAGES);
    tcase_add_loop_test(bad, an_empty_body_is_no_message, 0, WIRE_MESSAGES);
    tcase_add_test(bad, a_query_longer_than_its_limit_is_refused);
    tcase_add_test(bad, rows_that_are_not_there_are_refused);
    suite_add_tcase(suite, bad);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
