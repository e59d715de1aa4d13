/*
 * test_record.c - walks over tables of fields, and records of other releases.
 *
 * Two tables of one struct stand for two releases: `older` lacks the fields that came later.
 */
#include "fields.h"
#include "random_record.h"
#include "record_pack.h"
#include "testlib.h"

#include <check.h>
#include <stdlib.h>

struct thing {
    uint32_t count;
    char name[16];
    struct words words;
    struct attempt_ref *list;
    uint32_t list_count;
    int64_t later;       /* since 2, 7 if it is not said */
    struct words labels; /* since 3 */
};

static const struct field fields[] = {
    FIELD(thing, count, "count", .max = 10),
    FIELD_CHARS(thing, name, "name"),
    FIELD(thing, words, "words", .max = 8),
    FIELD_HEAP(thing, list, "list", list_count, 8, attempt_ref_record),
    FIELD(thing, later, "later", .since = 2, .initial = 7),
    FIELD(thing, labels, "labels", .since = 3, .form = FORM_MAP, .max = 8),
};
static const struct record newest = RECORD(thing, "thing", fields);
static const struct record older = {
    .name = "thing", .fields = fields, .count = 4, .size = sizeof(struct thing)};

static struct thing thing_random(uint64_t seed)
{
    struct random random = {seed};
    struct thing thing;
    random_record(&random, &newest, &thing);
    return thing;
}

START_TEST(a_copy_is_equal_and_owns_what_it_has)
{
    struct thing thing = thing_random((uint64_t)_i), copy;
    record_copy(&newest, &copy, &thing);
    ck_assert(record_equal(&newest, &copy, &thing));
    ck_assert_uint_eq(record_hash(&newest, &copy, 1), record_hash(&newest, &thing, 1));
    record_release(&newest, &thing);
    words_add(&copy.words, "more");
    record_release(&newest, &copy);
    ck_assert_ptr_null(copy.words.bytes);
}
END_TEST

static void count_difference(void *data, const struct field *field)
{
    const char **name = data;
    ck_assert_ptr_null(*name);
    *name = field->name;
}

START_TEST(each_field_counts_in_hashes_and_comparisons)
{
    for (uint32_t i = 0; i < newest.count; i++) {
        struct thing a = thing_random(3), b;
        const char *differs = NULL;
        struct random random = {100 + i};
        record_copy(&newest, &b, &a);
        do { /* until it really is another value */
            struct thing other;
            random_record(&random, &newest, &other);
            const struct record one = {.fields = &fields[i], .count = 1, .size = sizeof other};
            bool same = record_equal(&one, &a, &other);
            if (same) {
                record_release(&newest, &other);
                continue;
            }
            record_release(&newest, &b);
            record_copy(&newest, &b, &a);
            if (field_is_number(&fields[i])) {
                field_set_number(&fields[i], &b, field_number(&fields[i], &other));
            } else {
                struct thing swap = b;
                size_t size = fields[i].type == FIELD_LIST ? sizeof(void *) : fields[i].size;
                memcpy((char *)&b + fields[i].offset, (char *)&other + fields[i].offset, size);
                memcpy((char *)&other + fields[i].offset, (char *)&swap + fields[i].offset, size);
                if (fields[i].type == FIELD_LIST)
                    b.list_count = other.list_count, other.list_count = swap.list_count;
            }
            record_release(&newest, &other);
            break;
        } while (true);
        ck_assert_msg(!record_equal(&newest, &a, &b), "%s", fields[i].name);
        ck_assert_msg(record_hash(&newest, &a, 1) != record_hash(&newest, &b, 1), "%s",
                      fields[i].name);
        record_compare(&newest, &a, &b, count_difference, &differs);
        ck_assert_str_eq(differs, fields[i].name);
        record_release(&newest, &a), record_release(&newest, &b);
    }
}
END_TEST

START_TEST(a_field_at_its_initial_value_adds_nothing_to_the_hash)
{
    struct thing thing;
    record_init(&newest, &thing);
    ck_assert_int_eq(thing.later, 7);
    ck_assert_uint_eq(record_hash(&newest, &thing, 5), 0);
    thing.count = 3;
    ck_assert_uint_eq(record_hash(&newest, &thing, 5), record_hash(&older, &thing, 5));
    ck_assert_uint_eq(record_format(&newest, &thing), 1);
    thing.later = 0;
    ck_assert_uint_ne(record_hash(&newest, &thing, 5), record_hash(&older, &thing, 5));
    ck_assert_uint_eq(record_format(&newest, &thing), 2);
    words_add(&thing.labels, "a=b");
    ck_assert_uint_eq(record_format(&newest, &thing), 3);
    record_release(&newest, &thing);
}
END_TEST

START_TEST(a_record_of_an_older_release_gets_initial_values)
{
    struct thing thing = thing_random((uint64_t)_i), back;
    struct buf bytes = {0};
    record_pack(&bytes, &older, &thing);
    T_OK(record_unpack(bytes.bytes, bytes.size, &newest, &back, &t_err));
    ck_assert(record_equal(&older, &thing, &back));
    ck_assert_int_eq(back.later, 7);
    ck_assert_uint_eq(back.labels.count, 0);
    record_release(&newest, &thing), record_release(&newest, &back);
    buf_release(&bytes);
}
END_TEST

START_TEST(what_a_later_release_added_is_skipped)
{
    struct thing thing = thing_random((uint64_t)_i), back;
    struct buf bytes = {0};
    record_pack(&bytes, &newest, &thing);
    T_OK(record_unpack(bytes.bytes, bytes.size, &older, &back, &t_err));
    ck_assert(record_equal(&older, &thing, &back));
    record_release(&newest, &thing), record_release(&older, &back);
    buf_release(&bytes);
}
END_TEST

START_TEST(later_fields_are_written_only_where_they_are_used_and_allowed)
{
    struct thing thing;
    struct buf older_bytes = {0}, bytes = {0}, limited = {0};
    struct pack p;
    record_init(&newest, &thing);
    thing.count = 3;
    record_pack(&older_bytes, &older, &thing);
    record_pack(&bytes, &newest, &thing);
    ck_assert(same_bytes(bytes.bytes, bytes.size, older_bytes.bytes, older_bytes.size));
    thing.later = 9;
    pack_to(&p, &limited);
    p.format = 1;
    pack_record(&p, &newest, &thing);
    ck_assert(same_bytes(limited.bytes, limited.size, older_bytes.bytes, older_bytes.size));
    buf_clear(&bytes);
    record_pack(&bytes, &newest, &thing);
    ck_assert_uint_gt(bytes.size, older_bytes.size);
    pack_from(&p, bytes.bytes, bytes.size);
    p.strict = true;
    struct thing back = {0};
    pack_record(&p, &older, &back);
    ck_assert_int_eq(pack_end(&p, "thing", &t_err), -ERR_STATE);
    record_release(&older, &back);
    buf_release(&bytes), buf_release(&older_bytes), buf_release(&limited);
}
END_TEST

/* One value of each form of msgpack. */
START_TEST(any_value_can_be_skipped_and_a_cut_one_is_refused)
{
    static const struct {
        uint8_t bytes[24];
        size_t size;
    } values[] = {
        {{0x00}, 1},
        {{0xff}, 1},
        {{0xc0}, 1},
        {{0xc3}, 1},
        {{0xcc, 1}, 2},
        {{0xcd, 1, 2}, 3},
        {{0xce, 1, 2, 3, 4}, 5},
        {{0xcf, 1, 2, 3, 4, 5, 6, 7, 8}, 9},
        {{0xd0, 1}, 2},
        {{0xd1, 1, 2}, 3},
        {{0xd2, 1, 2, 3, 4}, 5},
        {{0xd3, 1, 2, 3, 4, 5, 6, 7, 8}, 9},
        {{0xca, 1, 2, 3, 4}, 5},
        {{0xcb, 1, 2, 3, 4, 5, 6, 7, 8}, 9},
        {{0xa2, 'a', 'b'}, 3},
        {{0xd9, 1, 'a'}, 3},
        {{0xda, 0, 1, 'a'}, 4},
        {{0xdb, 0, 0, 0, 1, 'a'}, 6},
        {{0xc4, 1, 'a'}, 3},
        {{0xc5, 0, 1, 'a'}, 4},
        {{0xc6, 0, 0, 0, 1, 'a'}, 6},
        {{0xc7, 1, 9, 'a'}, 4},
        {{0xc8, 0, 1, 9, 'a'}, 5},
        {{0xc9, 0, 0, 0, 1, 9, 'a'}, 7},
        {{0xd4, 9, 1}, 3},
        {{0xd5, 9, 1, 2}, 4},
        {{0xd6, 9, 1, 2, 3, 4}, 6},
        {{0xd7, 9, 1, 2, 3, 4, 5, 6, 7, 8}, 10},
        {{0xd8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}, 18},
        {{0x92, 0x91, 1, 0xa1, 'x'}, 5},
        {{0xdc, 0, 1, 5}, 4},
        {{0xdd, 0, 0, 0, 1, 5}, 6},
        {{0x82, 1, 2, 3, 0x91, 4}, 6},
        {{0xde, 0, 1, 5, 6}, 5},
        {{0xdf, 0, 0, 0, 1, 5, 6}, 7},
    };
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        for (size_t size = 0; size <= values[i].size; size++) {
            struct pack p;
            pack_from(&p, values[i].bytes, size);
            pack_skip(&p);
            int r = pack_end(&p, "value", NULL);
            ck_assert_msg((r == 0) == (size == values[i].size), "0x%02x: %zu of %zu bytes",
                          values[i].bytes[0], size, values[i].size);
        }
    static const uint8_t many[] = {0xdd, 0xff, 0xff, 0xff, 0xff, 0xdd, 0xff, 0xff, 0xff, 0xff};
    struct pack p;
    pack_from(&p, many, sizeof many);
    pack_skip(&p);
    ck_assert_int_eq(pack_end(&p, "many", NULL), -ERR_CORRUPT);
}
END_TEST

START_TEST(a_check_tells_the_field_and_its_bounds)
{
    struct job_spec spec;
    struct err err;
    spec_init(&spec);
    T_OK(record_check(&job_spec_record, &spec, "", &t_err));
    spec.priority = PRIORITY_MAX + 1;
    ck_assert_int_eq(record_check(&job_spec_record, &spec, "job.", &err), -ERR_INVALID);
    ck_assert_str_eq(err.msg, "job.priority: 451 is not between 0 and 450");
    spec.priority = 0;
    spec.restart = RESTART_COUNT;
    ck_assert_int_eq(record_check(&job_spec_record, &spec, "", &err), -ERR_INVALID);
    ck_assert_str_eq(err.msg, "task.restart: 3 is no restart policy");
    spec.restart = RESTART_NEVER;
    for (int i = 0; i <= SPEC_ENV_MAX; i++)
        words_add(&spec.env, "A=b");
    ck_assert_int_eq(record_check(&job_spec_record, &spec, "", &err), -ERR_INVALID);
    ck_assert_str_eq(err.msg, "task.env: 257 entries are too many, at most 256 are allowed");
    spec_release(&spec);
}
END_TEST

START_TEST(text_and_json_say_every_field)
{
    struct thing thing;
    struct buf text = {0}, json = {0};
    record_init(&newest, &thing);
    thing.count = 3;
    str_copy(thing.name, sizeof thing.name, "a\"b\\\n");
    words_add(&thing.words, "x y");
    thing.list = xcalloc(1, sizeof *thing.list);
    thing.list_count = 1;
    thing.list[0] = (struct attempt_ref){{5}, 6};
    record_text(&text, &newest, &thing);
    ck_assert_str_eq(buf_text(&text), "count=3 name=\"a\\\"b\\\\\\u000a\" words=[\"x y\"] "
                                      "list=[{\"task\":5,\"attempt\":6}]");
    record_json(&json, &newest, &thing);
    ck_assert_str_eq(buf_text(&json),
                     "{\"count\":3,\"name\":\"a\\\"b\\\\\\u000a\",\"words\":[\"x y\"],\"list\":"
                     "[{\"task\":5,\"attempt\":6}],\"later\":7,\"labels\":{}}");
    record_release(&newest, &thing);
    buf_release(&text), buf_release(&json);
}
END_TEST

/* Rules that base/record.h states for every table. */
static void check_table(const struct record *record, const char *name)
{
    unsigned since = 1;
    ck_assert_msg(record != NULL && record->count > 0, "%s", name);
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        bool owns = field->type == FIELD_STRING || field->type == FIELD_WORDS ||
                    field->type == FIELD_LIST ||
                    (field->record != NULL && record_owns_memory(field->record));
        ck_assert_msg(!record->is_flat || !owns, "%s.%s", name, field->name);
        ck_assert_msg(MAX(field->since, 1) >= since, "%s.%s", name, field->name);
        since = MAX(field->since, 1);
        ck_assert_msg(since <= CELL_FORMAT, "%s.%s", name, field->name);
        ck_assert_msg(field->offset + field->size <= record->size || field->type == FIELD_LIST,
                      "%s.%s", name, field->name);
        ck_assert_msg(field->type != FIELD_ENUM || field->choices != NULL, "%s.%s", name,
                      field->name);
        if (field->record != NULL && !field->record->is_scalar)
            check_table(field->record, field->record->name);
    }
}

START_TEST(tables_keep_their_rules)
{
    for (unsigned kind = 1; kind < CMD_KIND_COUNT; kind++)
        check_table(cmd_body_record(kind), cmd_kind_text(kind));
    const struct record *rows[] = {&machine_record,      &job_record,        &task_record,
                                   &quota_record,        &master_record,     &event_record,
                                   &identity_row_record, &request_row_record};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_table(rows[i], rows[i]->name);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("record");
    TCase *tcase = tcase_create("record");
    tcase_add_loop_test(tcase, a_copy_is_equal_and_owns_what_it_has, 0, 50);
    tcase_add_test(tcase, each_field_counts_in_hashes_and_comparisons);
    tcase_add_test(tcase, a_field_at_its_initial_value_adds_nothing_to_the_hash);
    tcase_add_loop_test(tcase, a_record_of_an_older_release_gets_initial_values, 0, 50);
    tcase_add_loop_test(tcase, what_a_later_release_added_is_skipped, 0, 50);
    tcase_add_test(tcase, later_fields_are_written_only_where_they_are_used_and_allowed);
    tcase_add_test(tcase, any_value_can_be_skipped_and_a_cut_one_is_refused);
    tcase_add_test(tcase, a_check_tells_the_field_and_its_bounds);
    tcase_add_test(tcase, text_and_json_say_every_field);
    tcase_add_test(tcase, tables_keep_their_rules);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
