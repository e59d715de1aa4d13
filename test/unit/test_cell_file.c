/*
 * test_cell_file.c - cell.json: parsing, refusals and positions of mistakes.
 */
#include "cell_file.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];
static char path[96];

static void make_directory(void)
{
    str_copy(directory, sizeof directory, "/tmp/test_cell_file.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/cell.json", directory);
}

static void remove_directory(void)
{
    unlink(path);
    ck_assert_int_eq(rmdir(directory), 0); /* no temporary file is left */
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

#define HEAD "{\"cell\": \"dev\", \"ca\": \"pki/ca.crt\", \"replicas\": "
#define ONE "{\"id\": 1, \"rpc\": \"h:1\", \"raft\": \"h:2\"}"
#define TWO "{\"id\": 2, \"rpc\": \"h:3\", \"raft\": \"h:4\"}"

static const struct mistake {
    const char *text;
    const char *message; /* a part of it */
} mistakes[] = {
    {"", "line 1"},
    {"{\"cell\": \"dev\"", "line 1"},
    {"[]", "must be a JSON object"},
    {"{}", "cell: is missing"},
    {"{\"cell\": 3}", "cell: must be a text"},
    {"{\"cell\": \"\"}", "cell: must have 1 to 63 bytes, has 0"},
    {"{\"cell\": \"Dev cell\", \"ca\": \"x\"}", "cell: may have a-z"},
    {"{\"cell\": \"dev\"}", "ca: is missing"},
    {"{\"cell\": \"dev\", \"cell\": \"dev\"}", "duplicate"},
    {"{\"cell\": \"dev\", \"ca\": \"x\"}", "replicas: is missing"},
    {"{\"cell\": \"dev\", \"ca\": \"x\", \"replica\": []}", "replica: is not a field"},
    {HEAD "{}}", "replicas: must be a list"},
    {HEAD "[]}", "replicas: there are 0, must be 1 to 10"},
    {HEAD "[7]}", "replicas[0]: must be an object"},
    {HEAD "[{\"id\": 1}]}", "replicas[0].rpc: is missing"},
    {HEAD "[{\"id\": 0, \"rpc\": \"h:1\", \"raft\": \"h:2\"}]}", "replicas[0].id: must be"},
    {HEAD "[{\"id\": 2147483649, \"rpc\": \"h:1\", \"raft\": \"h:2\"}]}",
     "replicas[0].id: must be"},
    {HEAD "[{\"id\": \"1\", \"rpc\": \"h:1\", \"raft\": \"h:2\"}]}", "replicas[0].id: must be"},
    {HEAD "[{\"id\": 1, \"rpc\": \"h\", \"raft\": \"h:2\"}]}", "rpc: \"h\" is not HOST:PORT"},
    {HEAD "[{\"id\": 1, \"rpc\": \":1\", \"raft\": \"h:2\"}]}", "rpc: \":1\" is not HOST:PORT"},
    {HEAD "[{\"id\": 1, \"rpc\": \"h:1\", \"raft\": \"h:65536\"}]}", "raft: \"h:65536\" is not"},
    {HEAD "[{\"id\": 1, \"rpc\": \"h:1\", \"raft\": \"h:1x\"}]}",
     "raft: \"h:1x\" is not HOST:PORT"},
    {HEAD "[{\"id\": 1, \"rpc\": \"h:1\", \"raft\": \"h:1\"}]}", "raft: is its rpc address too"},
    {HEAD "[{\"id\": 1, \"rpc\": \"h:1\", \"raft\": \"h:2\", \"x\": 1}]}", "replicas[0].x: is not"},
    {HEAD "[" ONE "," TWO "," ONE "]}", "replicas[2].id: 1 is also replicas[0]"},
    {HEAD "[" ONE "," TWO ",{\"id\": 3, \"rpc\": \"h:4\", \"raft\": \"h:6\"}]}",
     "replicas[2].rpc: h:4 is also an address of replicas[1]"},
    {HEAD "[" ONE "," TWO ",{\"id\": 3, \"rpc\": \"h:5\", \"raft\": \"h:1\"}]}",
     "replicas[2].raft: h:1 is also an address of replicas[0]"},
};

START_TEST(a_mistake_is_reported_with_its_position)
{
    struct cell_file file;
    struct err err = {0};
    write_file(mistakes[_i].text);
    ck_assert_int_eq(cell_file_load(path, &file, &err), -ERR_INVALID);
    ck_assert_msg(strstr(err.msg, path) != NULL, "%s", err.msg);
    ck_assert_msg(strstr(err.msg, mistakes[_i].message) != NULL, "%s", err.msg);
}
END_TEST

START_TEST(a_cell_file_is_read)
{
    struct cell_file file;
    struct err err = {0};
    char ca[128];
    write_file("\xef\xbb\xbf" HEAD "[" ONE "]}"); /* with a byte order mark */
    ck_assert_msg(cell_file_load(path, &file, &err) == 0, "%s", err.msg);
    write_file(HEAD "[" ONE "]}");
    ck_assert_msg(cell_file_load(path, &file, &err) == 0, "%s", err.msg);
    snprintf(ca, sizeof ca, "%s/pki/ca.crt", directory);
    ck_assert_str_eq(file.name, "dev");
    ck_assert_str_eq(file.ca_path, ca);
    ck_assert_uint_eq(file.replica_count, 1);
    ck_assert_uint_eq(file.replicas[0].id, 1);
    ck_assert_str_eq(file.replicas[0].rpc, "h:1");
    ck_assert_str_eq(file.replicas[0].raft, "h:2");
}
END_TEST

START_TEST(a_relative_path_is_made_absolute)
{
    struct cell_file file;
    write_file(HEAD "[" ONE "]}");
    ck_assert_int_eq(chdir(directory), 0);
    ck_assert_int_eq(cell_file_load("cell.json", &file, NULL), 0);
    ck_assert_msg(file.ca_path[0] == '/' && strstr(file.ca_path, directory) != NULL, "%s",
                  file.ca_path);
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(a_saved_file_is_loaded)
{
    struct cell_file file = {.name = "dev.1", .ca_path = "/x/ca.crt", .replica_count = 5}, back;
    struct err err = {0};
    for (size_t i = 0; i < file.replica_count; i++) {
        file.replicas[i].id = UINT64_C(2147483648) - i;
        snprintf(file.replicas[i].rpc, sizeof file.replicas[i].rpc, "127.0.0.1:%zu", 7100 + i);
        snprintf(file.replicas[i].raft, sizeof file.replicas[i].raft, "[::1]:%zu", 7200 + i);
    }
    write_file("something older");
    ck_assert_msg(cell_file_save(path, &file, &err) == 0, "%s", err.msg);
    ck_assert_msg(cell_file_load(path, &back, &err) == 0, "%s", err.msg);
    ck_assert_mem_eq(&file, &back, sizeof file);
}
END_TEST

START_TEST(a_missing_or_too_large_file_is_refused)
{
    struct cell_file file;
    struct err err = {0};
    ck_assert_int_eq(cell_file_load(path, &file, &err), -ERR_IO);
    ck_assert_msg(strstr(err.msg, path) != NULL, "%s", err.msg);
    write_file("{");
    ck_assert_int_eq(truncate(path, 1 << 20), 0);
    ck_assert_int_eq(cell_file_load(path, &file, &err), -ERR_LIMIT);
}
END_TEST

START_TEST(a_failed_save_leaves_no_file)
{
    struct cell_file file = {.name = "dev", .ca_path = "/x", .replica_count = 1};
    struct err err = {0};
    char inside[160];
    snprintf(inside, sizeof inside, "%s/none/cell.json", directory);
    ck_assert_int_eq(cell_file_save(inside, &file, &err), -ERR_IO);
    ck_assert_int_eq(mkdir(path, 0755), 0); /* the rename cannot replace a directory */
    ck_assert_int_eq(cell_file_save(path, &file, &err), -ERR_IO);
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cell_file");
    TCase *tcase = tcase_create("cell_file");
    tcase_add_checked_fixture(tcase, make_directory, remove_directory);
    tcase_add_loop_test(tcase, a_mistake_is_reported_with_its_position, 0, ARRAY_SIZE(mistakes));
    tcase_add_test(tcase, a_cell_file_is_read);
    tcase_add_test(tcase, a_relative_path_is_made_absolute);
    tcase_add_test(tcase, a_saved_file_is_loaded);
    tcase_add_test(tcase, a_missing_or_too_large_file_is_refused);
    tcase_add_test(tcase, a_failed_save_leaves_no_file);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
