// A web server: three tasks, each answers HTTP on the port that the cell assigned to it.
//
//     borgctl submit examples/hello.jsonnet --wait
//     borgctl tasks hello                    # PORTS is the column with the ports
//     borgctl logs hello/0 -f
//     borgctl submit examples/hello.jsonnet --tla-str name=other --tla-str text='hi there'
//
// The server is a Perl script because every Debian system has Perl.
function(name='hello', text='hello from a task') {
  local server = |||
    use IO::Socket::INET;
    $| = 1;
    my $port = $ENV{PORT_HTTP} or die "no PORT_HTTP";
    my $text = $ENV{HELLO_TEXT} . "\n";
    my $listener = IO::Socket::INET->new(
        LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 16, ReuseAddr => 1)
        or die "port $port: $!";
    print "listening on 127.0.0.1:$port\n";
    $SIG{TERM} = sub { print "told to stop\n"; exit 0 };
    while (1) {
        my $client = $listener->accept or next;
        my $request = <$client>;
        while (defined $request && defined(my $line = <$client>)) { last if $line =~ /^\r?\n$/ }
        print $client "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "
            . length($text) . "\r\nConnection: close\r\n\r\n$text";
        close $client;
        $request = "" unless defined $request;
        $request =~ s/[^ -~]//g;
        print "served $request\n";
    }
  |||,

  name: name,
  priority: 'production',
  appclass: 'latency-sensitive',
  replicas: 3,
  task: {
    command: ['perl', '-e', server],
    env: { HELLO_TEXT: text },
    ports: ['http'],
    resources: { cpu: '50m', ram: '32Mi' },
    restart: 'always',
    grace: '2s',
  },
}
