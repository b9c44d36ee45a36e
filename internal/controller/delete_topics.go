package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// topicDeletion is one topic that a DeleteTopics asks for, by name or by id.
type topicDeletion struct {
	name *string
	id   ids.TopicID
}

// key tells which topic is meant; an id never equals a name, for a name has no NUL.
func (d *topicDeletion) key() string {
	if d.name != nil {
		return *d.name
	}
	return "\x00" + string(d.id[:])
}

func topicDeletions(req *kmsg.DeleteTopicsRequest) []topicDeletion {
	if req.Version >= 6 {
		out := make([]topicDeletion, len(req.Topics))
		for i := range req.Topics {
			out[i] = topicDeletion{req.Topics[i].Topic, req.Topics[i].TopicID}
		}
		return out
	}
	out := make([]topicDeletion, len(req.TopicNames))
	for i := range req.TopicNames {
		out[i] = topicDeletion{name: &req.TopicNames[i]}
	}
	return out
}

// DeleteTopics decides on versions 1 to 6: by name up to 5, by name or id in 6
// (KIP-516). A topic that is meant twice, by name or id or both, is not deleted
// (Java: ControllerApis.deleteTopics).
func (c *Core) DeleteTopics(req *kmsg.DeleteTopicsRequest) (*kmsg.DeleteTopicsResponse, []metadata.Record) {
	if !c.config.DeleteTopicEnable {
		code := kerr.TopicDeletionDisabled
		if req.Version < 3 {
			code = kerr.InvalidRequest
		}
		return DeleteTopicsRefused(req, refuse(code, "delete.topic.enable is false on this cluster")), nil
	}
	asked := topicDeletions(req)
	valid, resp := checkDeletions(asked)
	byID, byName := make(map[ids.TopicID]bool), make(map[string]bool)
	for i := range asked {
		if asked[i].name == nil {
			byID[asked[i].id] = true
		}
	}
	for _, d := range valid {
		if d.name != nil {
			byName[*d.name] = true
		}
	}
	var recs []metadata.Record
	for _, d := range valid {
		t, refusal := c.topicToDelete(d)
		switch {
		case refusal != nil:
			resp.add(d.name, d.id, refusal)
		case d.name == nil && byName[t.Name]:
			// The answer to the name says so.
		case d.name != nil && byID[t.ID]:
			resp.add(d.name, t.ID, refuse(kerr.InvalidRequest, "topic %q is in the request by its name and by its id", t.Name))
		default:
			resp.add(&t.Name, t.ID, nil)
			recs = append(recs, &metadata.RemoveTopicRecord{TopicID: t.ID})
		}
	}
	if len(recs) > recordsMax {
		return DeleteTopicsRefused(req, refuseTooMany(len(recs))), nil
	}
	return resp.DeleteTopicsResponse, recs
}

type deleteTopicsResponse struct{ *kmsg.DeleteTopicsResponse }

func (r deleteTopicsResponse) add(name *string, id ids.TopicID, refusal *Refusal) {
	t := kmsg.NewDeleteTopicsResponseTopic()
	t.Topic, t.TopicID = name, id
	t.ErrorCode, t.ErrorMessage = refusal.wire()
	r.Topics = append(r.Topics, t)
}

// checkDeletions returns what is asked for properly, and answers the rest.
func checkDeletions(asked []topicDeletion) ([]*topicDeletion, deleteTopicsResponse) {
	resp := deleteTopicsResponse{kmsg.NewPtrDeleteTopicsResponse()}
	proper := make([]topicDeletion, 0, len(asked))
	for i := range asked {
		d := &asked[i]
		switch {
		case d.name == nil && d.id.IsZero():
			resp.add(nil, d.id, refuse(kerr.InvalidRequest, "a topic is given neither by its name nor by its id"))
		case d.name != nil && !d.id.IsZero():
			resp.add(d.name, d.id, refuse(kerr.InvalidRequest, "topic %q is given by its name and an id at once", *d.name))
		default:
			proper = append(proper, *d)
		}
	}
	single, duplicates := withoutDuplicates(proper, (*topicDeletion).key)
	for _, key := range duplicates {
		if key != "" && key[0] == 0 {
			id := ids.TopicID([]byte(key[1:]))
			resp.add(nil, id, refuse(kerr.InvalidRequest, "topic id %s is in the request more than once", id))
		} else {
			resp.add(&key, ids.ZeroUUID, refuse(kerr.InvalidRequest, "topic %q is in the request more than once", key))
		}
	}
	return single, resp
}

func (c *Core) topicToDelete(d *topicDeletion) (*metadata.Topic, *Refusal) {
	if d.name != nil {
		if t, ok := c.pending.Topic(*d.name); ok {
			return t, nil
		}
		return nil, refuse(kerr.UnknownTopicOrPartition, "there is no topic %q", *d.name)
	}
	if t, ok := c.pending.TopicByID(d.id); ok {
		return t, nil
	}
	return nil, refuse(kerr.UnknownTopicID, "no topic has id %s", d.id)
}

// DeleteTopicsRefused answers every topic of a request alike.
func DeleteTopicsRefused(req *kmsg.DeleteTopicsRequest, refusal *Refusal) *kmsg.DeleteTopicsResponse {
	resp := deleteTopicsResponse{kmsg.NewPtrDeleteTopicsResponse()}
	for _, d := range topicDeletions(req) {
		resp.add(d.name, d.id, refusal)
	}
	return resp.DeleteTopicsResponse
}
