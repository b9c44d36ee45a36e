package log

import "github.com/moldau/moldau/internal/ids"

// Appended is what an append answers.
type Appended struct {
	BaseOffset, LastOffset, LogStart ids.Offset
	Duplicate                        bool
	TimestampMs                      int64 // the batch's largest; of a duplicate, that of the producer's last batch
}
