/*
 * jobfile_yaml.h - YAML to JSON (libyaml), for job specs.
 *
 * std.parseYaml of the packaged Jsonnet (0.18) loses quotes ("007" becomes a number) and fails on
 * block text, so YAML does not go through it. Plain scalars are null, booleans, numbers or text as
 * in the YAML 1.2 core schema; quoted ones and block text are text, always. Several documents make
 * an array. Bounded: JOBFILE_YAML_NODES_MAX after aliases are expanded, and a depth.
 */
#ifndef CLI_JOBFILE_YAML_H
#define CLI_JOBFILE_YAML_H

#include "err.h"

#include <jansson.h>

enum { JOBFILE_YAML_NODES_MAX = 200000, JOBFILE_YAML_DEPTH_MAX = 64 };

/* ERR_INVALID says the line and what is wrong there. */
int jobfile_yaml(const char *text, json_t **ret, struct err *err) MUST_USE;

#endif
