package handler

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// code returns the Kafka error code of err: 0 for nil, UNKNOWN_SERVER_ERROR (-1) where
// err wraps none.
func code(err error) int16 {
	if err == nil {
		return 0
	}
	var k *kerr.Error
	if errors.As(err, &k) {
		return k.Code
	}
	return kerr.UnknownServerError.Code
}
