package vfs

const (
	pageBytes   = 4096
	sectorBytes = 512 // what a disk writes whole or not at all
)

// page is a piece of a file. Once frozen it never changes again: a write copies it
// first, so contents, their durable versions and crash clones share pages.
type page struct {
	data   [pageBytes]byte
	frozen bool
}

// freeze writes nothing to a page that is frozen already: another Mem may share it.
func (p *page) freeze() {
	if p != nil && !p.frozen {
		p.frozen = true
	}
}

// content is the bytes of a file. A nil page is a hole of zeros, which takes no room.
type content struct {
	pages []*page
	size  int64
}

func (c *content) readAt(p []byte, off int64) int {
	n := 0
	for n < len(p) && off < c.size {
		at := int(off % pageBytes)
		want := int(min(int64(len(p)-n), int64(pageBytes-at), c.size-off))
		if pg := c.pages[off/pageBytes]; pg != nil {
			copy(p[n:n+want], pg.data[at:])
		} else {
			clear(p[n : n+want])
		}
		n += want
		off += int64(want)
	}
	return n
}

// newPages counts the pages which a write of n bytes at off would make.
func (c *content) newPages(off int64, n int) (count int64) {
	for i := off / pageBytes; i*pageBytes < off+int64(n); i++ {
		if i >= int64(len(c.pages)) || c.pages[i] == nil {
			count++
		}
	}
	return count
}

func (c *content) writeAt(p []byte, off int64) {
	c.grow(off + int64(len(p)))
	for len(p) > 0 {
		pg := c.mutable(off / pageBytes)
		n := copy(pg.data[off%pageBytes:], p)
		p = p[n:]
		off += int64(n)
	}
}

func (c *content) grow(size int64) {
	if size <= c.size {
		return
	}
	c.size = size
	if need := int((size + pageBytes - 1) / pageBytes); need > len(c.pages) {
		c.pages = append(c.pages, make([]*page, need-len(c.pages))...)
	}
}

// mutable returns page i to write into: a new one for a hole, a copy of a frozen one.
func (c *content) mutable(i int64) *page {
	pg := c.pages[i]
	switch {
	case pg == nil:
		pg = new(page)
	case pg.frozen:
		pg = &page{data: pg.data}
	default:
		return pg
	}
	c.pages[i] = pg
	return pg
}

func (c *content) truncate(size int64) {
	if size >= c.size {
		c.grow(size)
		return
	}
	c.zero(size, c.size)
	c.size = size
	keep := int((size + pageBytes - 1) / pageBytes)
	clear(c.pages[keep:])
	c.pages = c.pages[:keep]
}

// zero clears the bytes [from, to), which end within the size.
func (c *content) zero(from, to int64) {
	for from < to {
		n := min(to-from, pageBytes-from%pageBytes)
		if c.pages[from/pageBytes] != nil {
			at := from % pageBytes
			clear(c.mutable(from / pageBytes).data[at : at+n])
		}
		from += n
	}
}

func (c *content) allocated() (count int64) {
	for _, pg := range c.pages {
		if pg != nil {
			count++
		}
	}
	return count
}

// catchUp makes durable equal to c. The operations since the last time say which pages differ.
func (c *content) catchUp(durable *content, pending []fileOp) {
	for i := range pending {
		// A cut and what grew over it again differ from the smaller size on.
		from, to := pending[i].off, pending[i].off+int64(len(pending[i].data))
		if pending[i].data == nil {
			to = max(durable.size, c.size)
		}
		durable.grow(min(to, c.size))
		for k := from / pageBytes; k*pageBytes < to && k < int64(len(c.pages)); k++ {
			c.pages[k].freeze()
			durable.pages[k] = c.pages[k]
		}
	}
	durable.truncate(c.size)
}

// frozenCopy returns a copy that shares every page.
func (c *content) frozenCopy() content {
	for _, pg := range c.pages {
		pg.freeze()
	}
	return content{append([]*page(nil), c.pages...), c.size}
}
