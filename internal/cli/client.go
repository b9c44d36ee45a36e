package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	defaultBrokers = "127.0.0.1:9092"
	defaultPort    = "9092"
	brokersEnv     = "MOLDAU_BROKERS"
)

// clientFlags are the flags of every command that is a client.
type clientFlags struct {
	p       *Program
	brokers string
	timeout time.Duration
}

func (f *clientFlags) add(cmd *cobra.Command) {
	brokers := defaultBrokers
	if v, set := f.p.getenv(brokersEnv); set && v != "" {
		brokers = v
	}
	cmd.Flags().StringVarP(&f.brokers, "brokers", "b", brokers, "addresses of brokers, HOST:PORT separated by commas ($"+brokersEnv+")")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for a broker's answer")
	_ = cmd.RegisterFlagCompletionFunc("brokers", cobra.NoFileCompletions)
}

func (f *clientFlags) seeds() []string {
	var seeds []string
	for s := range strings.SplitSeq(f.brokers, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(s); err != nil {
			s = net.JoinHostPort(strings.Trim(s, "[]"), defaultPort)
		}
		seeds = append(seeds, s)
	}
	return seeds
}

// dial connects to a broker and hears it answer, so that what is wrong with an address
// is said once and clearly, and not met as a time-out later.
func (f *clientFlags) dial(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	seeds := f.seeds()
	if len(seeds) == 0 {
		return nil, usagef("--brokers %q names no broker", f.brokers)
	}
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.ClientID("moldau"), kgo.SoftwareNameAndVersion("moldau", softwareVersion(f.p.Version)),
		kgo.DialTimeout(f.timeout), kgo.RetryTimeout(f.timeout), kgo.MetadataMinAge(100 * time.Millisecond),
	}, opts...)
	if f.p.Dial != nil {
		opts = append(opts, kgo.Dialer(f.p.Dial))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	pinging, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if err := client.Ping(pinging); err != nil {
		client.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, f.unreachable(seeds, err)
	}
	return client, nil
}

// softwareVersion makes a version that a broker takes as one (KIP-511).
func softwareVersion(v string) string {
	v = strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, v)
	if v = strings.Trim(v, "-."); v == "" {
		return "unknown"
	}
	return v
}

func (f *clientFlags) unreachable(seeds []string, err error) error {
	where := strings.Join(seeds, ", ")
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s; start a broker there (moldau dev), or name another with --brokers", where)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not answer within %v; is it a Kafka port, without TLS? Name another with --brokers, or wait longer with --timeout", where, f.timeout)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%s closed the connection (%w); is it a Kafka port, without TLS and SASL? Name another with --brokers", where, err)
	}
	return fmt.Errorf("cannot reach a broker at %s: %w; name another with --brokers", where, err)
}

// answering runs do with a client of one broker alone, the first of --brokers that answers, so that one which takes
// connections and stands still is in nobody's way. broker asks that one, and the client's Broker the others.
func (f *clientFlags) answering(ctx context.Context, do func(ctx context.Context, client *kgo.Client, broker kmsg.Requestor) error) error {
	seeds := f.seeds()
	if len(seeds) == 0 {
		return usagef("--brokers %q names no broker", f.brokers)
	}
	dialing, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := first(dialing, seeds, func(ctx context.Context, seed string) (*kgo.Client, error) {
		one := clientFlags{p: f.p, brokers: seed, timeout: f.timeout}
		return one.dial(ctx)
	}, (*kgo.Client).Close)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel = context.WithTimeout(ctx, f.timeout)
	defer cancel()
	return do(ctx, client, client.SeedBrokers()[0])
}

// first asks all at once and returns the first answer that is no error, or all errors. The context of the others ends then;
// drop, if not nil, is given what they answer all the same.
func first[Of, Answer any](ctx context.Context, all []Of, ask func(context.Context, Of) (Answer, error), drop func(Answer)) (Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		answer Answer
		err    error
	}
	results := make(chan result, len(all))
	for _, one := range all {
		go func() {
			answer, err := ask(ctx, one)
			results <- result{answer, err}
		}()
	}
	var errs []error
	for n := range all {
		r := <-results
		if r.err != nil {
			errs = append(errs, r.err)
			continue
		}
		if drop != nil {
			go func() {
				for range len(all) - n - 1 {
					if late := <-results; late.err == nil {
						drop(late.answer)
					}
				}
			}()
		}
		return r.answer, nil
	}
	var none Answer
	return none, errors.Join(errs...)
}

// admin runs do with a client for administration.
func (f *clientFlags) admin(ctx context.Context, do func(ctx context.Context, admin *kadm.Client) error) error {
	client, err := f.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	admin := kadm.NewClient(client)
	admin.SetTimeoutMillis(int32(f.timeout.Milliseconds()))
	return do(ctx, admin)
}

// topicProblem makes a sentence of an error of one topic; message is the broker's own, if any.
func topicProblem(topic string, err error, message string) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("there is no topic %q; moldau topic ls lists all, moldau topic create makes one", topic)
	case message != "":
		return fmt.Errorf("topic %q: %s (%s)", topic, message, kafkaName(err))
	}
	return fmt.Errorf("topic %q: %w", topic, err)
}

// kafkaName is Kafka's name of an error, which people find on the web.
func kafkaName(err error) string {
	var k *kerr.Error
	if errors.As(err, &k) {
		return k.Message
	}
	return err.Error()
}

// completeTopics offers the topics of the broker that -b names, within a second.
func (f *clientFlags) completeTopics(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	f.timeout = time.Second
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	var names []string
	_ = f.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
		topics, err := admin.ListTopics(ctx)
		names = topics.Names()
		return err
	})
	names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) })
	return names, cobra.ShellCompDirectiveNoFileComp
}
