// A task that always fails: it is restarted after a back-off of 1 s, then 2 s; then the job fails.
//
//     borgctl submit examples/crash.jsonnet
//     borgctl events crash -f
//     borgctl logs crash/0 --attempt 1 --err
{
  name: 'crash',
  priority: 'free',
  task: {
    command: 'echo "about to fail" >&2; sleep 1; exit 7',
    resources: { cpu: '10m', ram: '16Mi' },
    max_failures: 3,
    backoff: '1s',
  },
}
