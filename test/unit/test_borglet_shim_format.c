/*
 * test_borglet_shim_format.c - specs and records of other versions than ours, on disk.
 */
#include "shim_client.h"
#include "testlib.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

START_TEST(the_highest_version_of_both_ranges_is_used)
{
    static const struct {
        uint32_t min, max, want;
    } cases[] = {{2, 4, 4}, {4, 4, 4}, {1, 3, 3}, {2, 2, 2}, {4, 9, 4}, {1, 99, 4},
                 {5, 9, 0}, {1, 1, 0}, {4, 3, 0}, {9, 3, 0}, {0, 9, 0}, {0, 0, 0}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_uint_eq(shim_version_common(cases[i].min, cases[i].max), cases[i].want);
}
END_TEST

/* Write a spec of that version and size, with `more` bytes of unknown fields before its words. */
static void spec_write_as(int dir_fd, uint32_t version, uint32_t version_min, size_t head,
                          uint32_t extra)
{
    const size_t behind_crc = offsetof(struct shim_spec, words_bytes);
    char file[SHIM_HEAD_BYTES_MAX + 64];
    struct shim_spec spec = {.task = 1, .attempt = 1, .log_segment_bytes = 4096, .log_segments = 4};

    spec.magic = SHIM_SPEC_MAGIC;
    spec.version = version;
    spec.argc = 1;
    spec.words_bytes = sizeof("sleep");
    spec.limit[0] = 250;
    memset(spec.user, 'x', 4);
    spec.version_min = version_min;
    spec.head_bytes = (uint32_t)head + extra;
    memset(file, 'z', sizeof(file));
    memcpy(file, &spec, MIN(head, sizeof(spec)));
    memcpy(file + head + extra, "sleep", 6);
    spec.crc = shim_crc(0, file + behind_crc, head + extra + 6 - behind_crc);
    memcpy(file, &spec, behind_crc);
    int fd = openat(dir_fd, "spec", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, file, head + extra + 6), (ssize_t)(head + extra + 6));
    close(fd);
}

/* A borglet finds attempts that another release has started. */
START_TEST(specs_of_other_versions_are_read)
{
    static const struct {
        uint32_t version, version_min, extra;
        size_t head;
        const char *user;
        bool damaged;
    } cases[] = {
        {2, 0, 0, 312, "", false},
        {3, 0, 0, 376, "xxxx", false},
        {4, 2, 0, SHIM_SPEC_FIXED_BYTES, "xxxx", false},
        {5, 2, 100, SHIM_SPEC_FIXED_BYTES, "xxxx", false},
        {9, 9, 3000, SHIM_SPEC_FIXED_BYTES, "xxxx", false}, /* no common version: limits, owner */
        {5, 2, 0, SHIM_SPEC_FIXED_BYTES - 8, "", true},
        {5, 2, SHIM_HEAD_BYTES_MAX - SHIM_SPEC_FIXED_BYTES + 8, SHIM_SPEC_FIXED_BYTES, "", true},
        {1, 0, 0, 312, "", true},
    };
    struct shim_spec spec;
    char argv0[SHIM_ARGV0_BYTES];

    int dir_fd = open(t_dir(), O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        spec_write_as(dir_fd, cases[i].version, cases[i].version_min, cases[i].head,
                      cases[i].extra);
        int rc = shim_spec_read(dir_fd, &spec, argv0, &t_err);
        if (cases[i].damaged) {
            ck_assert_int_eq(rc, -ERR_CORRUPT);
            continue;
        }
        ck_assert_msg(rc == 0, "case %zu: %s", i, t_err.msg);
        ck_assert_str_eq(argv0, "sleep");
        ck_assert_str_eq(spec.user, cases[i].user);
        ck_assert_int_eq(spec.limit[0], 250);
        ck_assert_uint_eq(spec.version_min, cases[i].version < 4 ? 0 : cases[i].version_min);
    }
    close(dir_fd);
}
END_TEST

/* Write a record whose state has `size` bytes, with a number behind the known fields. */
static void record_write_as(int dir_fd, uint32_t version, uint32_t version_min, size_t size)
{
    const size_t at = offsetof(struct shim_record, state);
    char slot[SHIM_RECORD_SLOT_BYTES] = "";
    struct shim_record record = {.magic = SHIM_RECORD_MAGIC, .version = version, .seq = 7};

    record.state.phase = SHIM_ENDED;
    record.state.end = SHIM_END_EXIT;
    record.state.code = 42;
    record.state.task_pid = 4711;
    record.state.bytes = version < 4 ? 0 : (uint32_t)size;
    record.state.version_min = version_min;
    record.state.version_max = version;
    str_copy(record.state.detail, sizeof(record.state.detail), "detail");
    memset(slot, 'z', sizeof(slot));
    memcpy(slot, &record, MIN(sizeof(record), at + size));
    if (at + size + 4 <= sizeof(slot)) {
        uint32_t crc = shim_crc(0, slot, at + size);
        memcpy(slot + at + size, &crc, sizeof(crc));
    }
    int fd = openat(dir_fd, "record", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, slot, sizeof(slot)), sizeof(slot));
    close(fd);
}

START_TEST(records_of_other_versions_are_read)
{
    static const struct {
        uint32_t version, version_min;
        size_t size;
        const char *detail;
        bool invalid;
    } cases[] = {
        {2, 0, 144, "", false},
        {3, 0, 224, "detail", false},
        {4, 2, SHIM_STATE_FIXED_BYTES, "detail", false},
        {5, 2, SHIM_STATE_FIXED_BYTES + 64, "detail", false},
        {9, 9, 1800, "detail", false}, /* no common version: how it ended is known still */
        {5, 2, SHIM_STATE_FIXED_BYTES - 8, "", true},
        {5, 2, SHIM_RECORD_SLOT_BYTES - 16, "", true},
        {5, 2, UINT32_MAX, "", true},
        {1, 0, 144, "", true},
    };
    struct shim_state state;

    int dir_fd = open(t_dir(), O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        record_write_as(dir_fd, cases[i].version, cases[i].version_min, cases[i].size);
        int rc = shim_record_read(dir_fd, &state, NULL);
        ck_assert_msg(rc == (cases[i].invalid ? -ERR_NOT_FOUND : 0), "case %zu", i);
        if (rc != 0)
            continue;
        ck_assert_int_eq(state.code, 42);
        ck_assert_int_eq(state.task_pid, 4711);
        ck_assert_str_eq(state.detail, cases[i].detail);
        ck_assert_uint_eq(state.version_max, cases[i].version);
    }
    close(dir_fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("borglet_shim_format");
    TCase *tcase = tcase_create("format");

    tcase_add_test(tcase, the_highest_version_of_both_ranges_is_used);
    tcase_add_test(tcase, specs_of_other_versions_are_read);
    tcase_add_test(tcase, records_of_other_versions_are_read);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
