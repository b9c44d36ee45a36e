package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

// An acl is the four enumerations of an ACL or of a filter.
type acl struct {
	resource   kmsg.ACLResourceType
	pattern    kmsg.ACLResourcePatternType
	operation  kmsg.ACLOperation
	permission kmsg.ACLPermissionType
}

// acls asks about ACLs where no authorizer is configured.
func (s *suite) acls() {
	good := acl{kmsg.ACLResourceTypeTopic, kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow}
	each(29, func(v int16) {
		for _, c := range []struct {
			what string
			acls []acl
		}{{"an acl", []acl{good}}, {"two acls", []acl{good, good}}, {"no acl", nil}, {"numbers of nothing", []acl{{99, 99, 99, 99}}}} {
			s.good(v, c.what, createACLs(c.acls...))
			s.good(v, c.what, deleteACLs(c.acls...))
			if len(c.acls) == 1 {
				s.good(v, c.what, describeACLs(c.acls[0]))
			}
		}
		for _, c := range []struct {
			what string
			acl  acl
		}{
			{"an unknown resource type", acl{0, 3, 3, 3}}, {"an unknown pattern type", acl{2, 0, 3, 3}},
			{"an unknown operation", acl{2, 3, 0, 3}}, {"an unknown permission", acl{2, 3, 3, 0}},
		} {
			s.bad(v, c.what, describeACLs(c.acl))
			s.bad(v, c.what, createACLs(good, c.acl))
			s.bad(v, c.what, deleteACLs(good, c.acl))
		}
		nameless := createACLs(good)
		nameless.Creations[0].ResourceName = ""
		s.bad(v, "no name", nameless)
	})
}

func describeACLs(a acl) *kmsg.DescribeACLsRequest {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = a.resource, a.pattern, a.operation, a.permission
	return req
}

func createACLs(acls ...acl) *kmsg.CreateACLsRequest {
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range acls {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourcePatternType, c.Operation, c.PermissionType = a.resource, a.pattern, a.operation, a.permission
		c.ResourceName, c.Principal, c.Host = "x", "User:x", "*"
		req.Creations = append(req.Creations, c)
	}
	return req
}

func deleteACLs(acls ...acl) *kmsg.DeleteACLsRequest {
	req := kmsg.NewPtrDeleteACLsRequest()
	for _, a := range acls {
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = a.resource, a.pattern, a.operation, a.permission
		req.Filters = append(req.Filters, f)
	}
	return req
}
