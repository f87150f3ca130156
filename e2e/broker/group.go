package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Group is what the coordinator knows of a consumer group.
type Group struct {
	State   string
	Members []GroupMember
}

// GroupMember is a member of a group, and how many partitions it is assigned.
type GroupMember struct {
	ClientID   string
	Partitions int
}

// Group describes a group. Unlike Client.DescribeGroups it does not look into what members of other clients say
// of themselves.
func (b *Broker) Group(ctx context.Context, name string) (Group, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...))
	if err != nil {
		return Group{}, err
	}
	defer client.Close()
	request := kmsg.NewPtrDescribeGroupsRequest()
	request.Groups = []string{name}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return Group{}, err
	}
	described := response.Groups[0]
	group := Group{State: described.State}
	for _, m := range described.Members {
		var assigned kmsg.ConsumerMemberAssignment
		if err := assigned.ReadFrom(m.MemberAssignment); len(m.MemberAssignment) > 0 && err != nil {
			return Group{}, fmt.Errorf("read the assignment of %s: %w", m.ClientID, err)
		}
		partitions := 0
		for _, topic := range assigned.Topics {
			partitions += len(topic.Partitions)
		}
		group.Members = append(group.Members, GroupMember{m.ClientID, partitions})
	}

	return group, kerr.ErrorForCode(described.ErrorCode)
}
