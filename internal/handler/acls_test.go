package handler

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An acl is the four enumerations of an ACL or of a filter.
type acl struct {
	resource   kmsg.ACLResourceType
	pattern    kmsg.ACLResourcePatternType
	operation  kmsg.ACLOperation
	permission kmsg.ACLPermissionType
}

var goodACL = acl{2, 3, 3, 3}

func (a acl) describe(version int16) *kmsg.DescribeACLsRequest {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.Version = version
	req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = a.resource, a.pattern, a.operation, a.permission
	return req
}

func createACLsRequest(version int16, acls ...acl) *kmsg.CreateACLsRequest {
	req := kmsg.NewPtrCreateACLsRequest()
	req.Version = version
	for _, a := range acls {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourcePatternType, c.Operation, c.PermissionType = a.resource, a.pattern, a.operation, a.permission
		req.Creations = append(req.Creations, c)
	}
	return req
}

func deleteACLsRequest(version int16, acls ...acl) *kmsg.DeleteACLsRequest {
	req := kmsg.NewPtrDeleteACLsRequest()
	req.Version = version
	for _, a := range acls {
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = a.resource, a.pattern, a.operation, a.permission
		req.Filters = append(req.Filters, f)
	}
	return req
}

// TestACLsWithoutAuthorizer: every ACL that is asked for, made or deleted is refused, one answer each.
func TestACLsWithoutAuthorizer(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	c := b.dial()
	defer c.close()
	unheardOf := acl{99, 99, 99, 99}
	for version := int16(1); version <= 3; version++ {
		described := ask[*kmsg.DescribeACLsResponse](c, goodACL.describe(version))
		wantCode(t, "describe", described.ErrorCode, kerr.SecurityDisabled)
		if described.ErrorMessage == nil || len(described.Resources) != 0 {
			t.Errorf("v%d: %+v", version, described)
		}
		wantCode(t, "describe the unheard of", ask[*kmsg.DescribeACLsResponse](c, unheardOf.describe(version)).ErrorCode, kerr.SecurityDisabled)
		for _, acls := range [][]acl{nil, {goodACL}, {goodACL, unheardOf, goodACL}} {
			created := ask[*kmsg.CreateACLsResponse](c, createACLsRequest(version, acls...))
			deleted := ask[*kmsg.DeleteACLsResponse](c, deleteACLsRequest(version, acls...))
			if len(created.Results) != len(acls) || len(deleted.Results) != len(acls) {
				t.Fatalf("v%d: %d creations and %d deletions of %d", version, len(created.Results), len(deleted.Results), len(acls))
			}
			for i := range acls {
				wantCode(t, "create", created.Results[i].ErrorCode, kerr.SecurityDisabled)
				wantCode(t, "delete", deleted.Results[i].ErrorCode, kerr.SecurityDisabled)
				if created.Results[i].ErrorMessage == nil || deleted.Results[i].ErrorMessage == nil || len(deleted.Results[i].MatchingACLs) != 0 {
					t.Errorf("v%d: %+v %+v", version, created.Results[i], deleted.Results[i])
				}
			}
		}
	}
}

// TestUnknownACLElementsClose: an enumeration that is UNKNOWN ends the connection, also where another ACL is sound.
func TestUnknownACLElementsClose(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	for i, bad := range []acl{{0, 3, 3, 3}, {2, 0, 3, 3}, {2, 3, 0, 3}, {2, 3, 3, 0}} {
		for version := int16(1); version <= 3; version++ {
			for _, req := range []kmsg.Request{
				bad.describe(version), createACLsRequest(version, goodACL, bad), deleteACLsRequest(version, goodACL, bad),
			} {
				t.Run(fmt.Sprintf("%s v%d %d", kmsg.NameForKey(req.Key()), version, i), func(t *testing.T) {
					c := b.dial()
					defer c.close()
					c.send(req)
					c.wantClosed()
				})
			}
		}
	}
}
