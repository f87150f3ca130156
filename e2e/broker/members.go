package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stable is the state of a group in which everybody knows its partitions.
const stable = "Stable"

// Members is how many members a group has, 0 while it is rebalancing. The broker may share its
// partitions out (KIP-848), or a member.
func (b *Broker) Members(ctx context.Context, name string) (int, error) {
	classic, err := b.Group(ctx, name)
	if err == nil && classic.State == stable && len(classic.Members) > 0 { // To kfake a KIP-848 group is one without members.
		return len(classic.Members), nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	request := kmsg.NewPtrConsumerGroupDescribeRequest()
	request.Groups = []string{name}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return 0, err
	}
	described := response.Groups[0]
	err = kerr.ErrorForCode(described.ErrorCode)
	if errors.Is(err, kerr.GroupIDNotFound) || described.State != stable {
		return 0, nil
	}

	return len(described.Members), err
}
