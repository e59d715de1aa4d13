// A finite batch job: each task counts to STEPS and exits; the job ends when all tasks have ended.
//
//     borgctl submit examples/batch.jsonnet
//     borgctl jobs batch
//     borgctl logs batch/3
function(name='batch', tasks='8', steps='5') {
  name: name,
  priority: 'batch',
  appclass: 'batch',
  replicas: std.parseInt(tasks),
  task: {
    command: |||
      i=0
      while [ $i -lt $STEPS ]; do
        i=$((i + 1)); echo "step $i of $STEPS"; sleep 1
      done
    |||,
    env: { STEPS: steps },
    resources: { cpu: '100m', ram: '16Mi' },
    restart: 'on-failure',
    max_failures: 3,
  },
}
