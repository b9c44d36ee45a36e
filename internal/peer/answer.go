package peer

import (
	"fmt"
	"io"
	"sync"
)

const (
	// pooledBytesMin is from which size on the memory of an answer is used again.
	pooledBytesMin = 64 << 10
	// pooledBytesStep is what the size of such memory is rounded up to.
	pooledBytesStep = 256 << 10
)

// answerMemory is what large answers have been read into and nobody uses any more, as *[]byte.
var answerMemory sync.Pool

// receiveAnswer reads a frame that a node sends which has proved to be one: its length is believed, up to the limit.
// memory is what can be given to reuse when the frame is not used any more, nil for a small one.
func receiveAnswer(r io.Reader, limit int) (frame []byte, memory *[]byte, err error) {
	n, err := receiveLength(r, limit)
	if err != nil {
		return nil, nil, err
	}
	if n < pooledBytesMin {
		frame = make([]byte, n)
	} else {
		memory = takeMemory(n)
		frame = (*memory)[:n]
	}
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, nil, fmt.Errorf("receiving a frame of %d bytes: %w", n, noEOF(err))
	}
	return frame, memory, nil
}

func takeMemory(n int) *[]byte {
	if b, ok := answerMemory.Get().(*[]byte); ok && len(*b) >= n {
		return b
	}
	b := make([]byte, (n+pooledBytesStep-1)/pooledBytesStep*pooledBytesStep)
	return &b
}

func reuse(memory *[]byte) {
	if memory != nil {
		answerMemory.Put(memory)
	}
}
