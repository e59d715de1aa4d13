/*
 * test_base.c - errors, buffers, maps, lists, hashes; the maps are compared with a trivial model.
 */
#include "base.h"

#include "buf.h"
#include "err.h"
#include "hash.h"
#include "idmap.h"
#include "list.h"
#include "testlib.h"

#include <errno.h>

START_TEST(an_error_has_a_code_and_a_message)
{
    struct err err = {0};
    ck_assert_int_eq(err_set(&err, ERR_NOT_FOUND, "no job \"%s\"", "web"), -ERR_NOT_FOUND);
    ck_assert_int_eq(err.code, ERR_NOT_FOUND);
    ck_assert_str_eq(err.msg, "no job \"web\"");
    ck_assert_int_eq(err_wrap(&err, "cell %d", 7), -ERR_NOT_FOUND);
    ck_assert_int_eq(err.code, ERR_NOT_FOUND);
    ck_assert_str_eq(err.msg, "cell 7: no job \"web\"");
    ck_assert_int_eq(err_errno(&err, ENOENT, "/etc/%s", "x"), -ERR_IO);
    ck_assert_int_eq(err.code, ERR_IO);
    ck_assert_str_eq(err.msg, "/etc/x: No such file or directory");
    ck_assert_int_eq(err_set(NULL, ERR_LIMIT, "nobody reads this"), -ERR_LIMIT);
}
END_TEST

START_TEST(long_messages_are_truncated_and_terminated)
{
    struct err err = {0};
    char text[2 * ERR_MSG_MAX];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    err_set(&err, ERR_INVALID, "%s", text);
    ck_assert_uint_eq(strlen(err.msg), ERR_MSG_MAX - 1);
    err_wrap(&err, "%s", text);
    ck_assert_uint_eq(strlen(err.msg), ERR_MSG_MAX - 1);
    err_errno(&err, EIO, "%s", text);
    ck_assert_uint_eq(strlen(err.msg), ERR_MSG_MAX - 1);
    err_set(&err, ERR_INVALID, "end");
    err_wrap(&err, "%.500s", text);
    ck_assert_str_eq(err.msg + 500, ": end");
}
END_TEST

START_TEST(error_codes_on_the_wire_are_fixed)
{
    static const char *const texts[] = {
        "ok",     "invalid", "not-found",   "exists",          "wrong-state",
        "denied", "limit",   "not-leader",  "unknown-outcome", "timeout",
        "io",     "corrupt", "unavailable", "closed"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        ck_assert_str_eq(err_code_text((enum err_code)i), texts[i]);
    ck_assert_str_eq(err_code_text((enum err_code)200), "unknown");
}
END_TEST

START_TEST(a_buffer_contains_the_appended_bytes)
{
    CLEANUP(buf_release) struct buf buf = {0};
    CLEANUP(buf_release) struct buf model = {0};
    char *expected = xcalloc(1, 400000);
    size_t size = 0;
    ck_assert_str_eq(buf_text(&buf), "");
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        char piece[128];
        size_t n = hash_u64(seed) % sizeof piece;
        memset(piece, (int)('a' + seed % 26), sizeof piece);
        if (seed % 5 == 0) {
            size_t gone = MIN(n * 2, size);
            buf_consume(&buf, gone);
            memmove(expected, expected + gone, size - gone);
            size -= gone;
        } else if (seed % 7 == 0) {
            buf_printf(&buf, "%.*s", (int)n, piece);
            memcpy(expected + size, piece, n);
            size += n;
        } else {
            buf_append(&buf, piece, n);
            memcpy(expected + size, piece, n);
            size += n;
        }
        ck_assert_uint_eq(buf.size, size);
        ck_assert_uint_lt(buf.size, buf.capacity);
        ck_assert_mem_eq(buf.bytes, expected, size);
        ck_assert_int_eq(buf.bytes[size], '\0');
    }
    ck_assert_uint_gt(size, 10000);
    free(expected);
    buf_append(&model, "", 0);
    ck_assert_str_eq(buf_text(&model), "");
}
END_TEST

START_TEST(a_cleared_buffer_is_empty_and_keeps_its_memory)
{
    struct buf buf = {0};
    buf_printf(&buf, "%s-%d", "job", 3);
    size_t capacity = buf.capacity;
    buf_clear(&buf);
    ck_assert_str_eq(buf_text(&buf), "");
    ck_assert_uint_eq(buf.capacity, capacity);
    buf_printf(&buf, "%s-%d", "job", 4);
    ck_assert_str_eq(buf_text(&buf), "job-4");
    buf_release(&buf);
    ck_assert_ptr_null(buf.bytes);
    ck_assert_uint_eq(buf.size + buf.capacity, 0);
}
END_TEST

START_TEST(strings_are_truncated_to_fit)
{
    char small[4] = "zzz";
    str_copy(small, sizeof small, "abcdef");
    ck_assert_str_eq(small, "abc");
    str_copy(small, sizeof small, "");
    ck_assert_str_eq(small, "");
    str_copy(small, 1, "a");
    ck_assert_str_eq(small, "");
}
END_TEST

/* Few keys, so that entries are often replaced, removed and probed past. */
enum { MODEL_KEYS = 3000, MODEL_STEPS = 300000 };

static const uint64_t key_strides[] = {1, 4096, UINT64_C(0x100000001)};

START_TEST(an_id_map_behaves_like_an_array)
{
    struct idmap map = {0};
    static void *model[MODEL_KEYS];
    static char values[MODEL_KEYS];
    uint64_t stride = key_strides[_i];
    size_t count = 0;
    for (uint64_t step = 1; step <= MODEL_STEPS; step++) {
        uint64_t r = hash_u64(step + (uint64_t)_i * MODEL_STEPS);
        size_t k = r % MODEL_KEYS;
        uint64_t key = (k + 1) * stride;
        /* Grow for a while, then shrink, and repeat. */
        if ((r >> 32) % 8 < (step / 20000 % 2 == 0 ? 6u : 2u)) {
            void *value = &values[(r >> 40) % MODEL_KEYS];
            count += model[k] == NULL;
            model[k] = value;
            idmap_put(&map, key, value);
        } else {
            ck_assert_ptr_eq(idmap_remove(&map, key), model[k]);
            count -= model[k] != NULL;
            model[k] = NULL;
        }
        ck_assert_uint_eq(map.count, count);
        size_t other = (r >> 16) % MODEL_KEYS;
        ck_assert_ptr_eq(idmap_get(&map, (other + 1) * stride), model[other]);
        if (step % 10000 == 0)
            for (size_t i = 0; i < MODEL_KEYS; i++)
                ck_assert_ptr_eq(idmap_get(&map, (i + 1) * stride), model[i]);
    }
    idmap_release(&map);
    ck_assert_ptr_null(idmap_get(&map, stride));
    ck_assert_ptr_null(idmap_remove(&map, stride));
}
END_TEST

START_TEST(a_name_map_behaves_like_an_array)
{
    struct namemap map = {0};
    static char names[MODEL_KEYS][16];
    static void *model[MODEL_KEYS];
    size_t count = 0;
    for (size_t i = 0; i < MODEL_KEYS; i++)
        snprintf(names[i], sizeof names[i], "job-%zu", i);
    for (uint64_t step = 1; step <= MODEL_STEPS; step++) {
        uint64_t r = hash_u64(step);
        size_t k = r % MODEL_KEYS;
        char copy[16]; /* lookups must compare texts, not pointers */
        str_copy(copy, sizeof copy, names[k]);
        if ((r >> 32) % 8 < (step / 20000 % 2 == 0 ? 6u : 2u)) {
            count += model[k] == NULL;
            model[k] = &model[(r >> 40) % MODEL_KEYS];
            namemap_put(&map, names[k], model[k]);
        } else {
            ck_assert_ptr_eq(namemap_remove(&map, copy), model[k]);
            count -= model[k] != NULL;
            model[k] = NULL;
        }
        ck_assert_uint_eq(map.count, count);
        ck_assert_ptr_eq(namemap_get(&map, copy), model[k]);
        if (step % 10000 == 0)
            for (size_t i = 0; i < MODEL_KEYS; i++)
                ck_assert_ptr_eq(namemap_get(&map, names[i]), model[i]);
    }
    ck_assert_ptr_null(namemap_get(&map, ""));
    namemap_release(&map);
    ck_assert_ptr_null(namemap_get(&map, "job-1"));
}
END_TEST

struct item {
    int number;
    struct list link;
};

START_TEST(a_list_keeps_the_order_of_its_links)
{
    struct list head;
    struct item items[5];
    int seen = 0;
    list_init(&head);
    ck_assert(list_empty(&head));
    ck_assert_ptr_null(list_pop(&head));
    for (int i = 0; i < 5; i++) {
        items[i].number = i;
        list_push(&head, &items[i].link);
    }
    list_remove(&items[2].link);
    list_remove(&items[2].link); /* a second call is harmless */
    LIST_EACH(l, &head)
    seen = seen * 10 + CONTAINER_OF(l, struct item, link)->number;
    ck_assert_int_eq(seen, 134); /* 0, 1, 3, 4 */
    ck_assert_ptr_eq(list_pop(&head), &items[0].link);
    ck_assert(list_empty(&items[0].link));
    while (list_pop(&head) != NULL)
        seen++;
    ck_assert_int_eq(seen, 137);
    ck_assert(list_empty(&head));
}
END_TEST

START_TEST(hashes_never_change)
{
    /* The published first outputs of splitmix64 with seed 0. */
    uint64_t gamma = UINT64_C(0x9e3779b97f4a7c15);
    ck_assert_uint_eq(hash_add(0, 0), UINT64_C(0xe220a8397b1dcdaf));
    ck_assert_uint_eq(hash_add(gamma, 0), UINT64_C(0x6e789e6aa1b965f4));
    ck_assert_uint_eq(hash_add(gamma, gamma), UINT64_C(0x06c45d188009454f));
    ck_assert_uint_eq(hash_text(0, ""), UINT64_C(0xe220a8397b1dcdaf));
    ck_assert_uint_eq(hash_text(0, "web"), UINT64_C(0xb7f5944a61bb6d33));
    ck_assert_uint_eq(hash_text(1, "a-name-longer-than-a-word"), UINT64_C(0xb9bd912ab7d03893));
}
END_TEST

START_TEST(hashes_depend_on_every_byte_the_length_and_the_order)
{
    static const char bytes[] = "0123456789abcdefX";
    uint64_t whole = hash_bytes(0, bytes, 17);
    for (size_t i = 0; i < 17; i++) {
        char changed[17];
        memcpy(changed, bytes, 17);
        changed[i] ^= 1;
        ck_assert_uint_ne(hash_bytes(0, changed, 17), whole);
        ck_assert_uint_ne(hash_bytes(0, bytes, i), whole);
    }
    ck_assert_uint_ne(hash_bytes(0, "a", 1), hash_bytes(0, "a\0", 2));
    ck_assert_uint_ne(hash_add(hash_add(0, 1), 2), hash_add(hash_add(0, 2), 1));
    ck_assert_uint_ne(hash_bytes(1, bytes, 17), whole);
}
END_TEST

START_TEST(a_false_assertion_aborts)
{
    ASSERT(1 + 1 == 3);
}
END_TEST

START_TEST(key_0_is_a_bug)
{
    struct idmap map = {0};
    idmap_put(&map, 0, &map);
}
END_TEST

START_TEST(consuming_more_than_the_size_is_a_bug)
{
    struct buf buf = {0};
    buf_append(&buf, "abc", 3);
    buf_consume(&buf, 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base");
    TCase *values = tcase_create("values");
    tcase_add_test(values, an_error_has_a_code_and_a_message);
    tcase_add_test(values, long_messages_are_truncated_and_terminated);
    tcase_add_test(values, error_codes_on_the_wire_are_fixed);
    tcase_add_test(values, a_buffer_contains_the_appended_bytes);
    tcase_add_test(values, a_cleared_buffer_is_empty_and_keeps_its_memory);
    tcase_add_test(values, strings_are_truncated_to_fit);
    tcase_add_test(values, a_list_keeps_the_order_of_its_links);
    tcase_add_test(values, hashes_never_change);
    tcase_add_test(values, hashes_depend_on_every_byte_the_length_and_the_order);
    suite_add_tcase(suite, values);
    TCase *maps = tcase_create("maps");
    tcase_set_timeout(maps, 60);
    tcase_add_loop_test(maps, an_id_map_behaves_like_an_array, 0, ARRAY_SIZE(key_strides));
    tcase_add_test(maps, a_name_map_behaves_like_an_array);
    suite_add_tcase(suite, maps);
    TCase *bugs = tcase_create("bugs");
    tcase_add_test_raise_signal(bugs, a_false_assertion_aborts, SIGABRT);
    tcase_add_test_raise_signal(bugs, key_0_is_a_bug, SIGABRT);
    tcase_add_test_raise_signal(bugs, consuming_more_than_the_size_is_a_bug, SIGABRT);
    suite_add_tcase(suite, bugs);
    return t_main(suite);
}
