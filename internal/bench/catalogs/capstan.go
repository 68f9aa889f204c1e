package main

import (
	"fmt"
	"time"

	"capstan/core/catalog"
	"capstan/core/catalog/catalogtest"
	"capstan/hw/dir"
)

// capstan measures the files file.
func (b *bench) capstan() error {
	d, err := dir.Open(b.dir)
	if err != nil {
		return err
	}
	if err := b.sizes(d); err != nil {
		return err
	}
	for _, o := range []struct {
		order catalogtest.Order
		what  string
	}{{catalogtest.Shuffled, writeShuffled}, {catalogtest.Walk, writeWalk}, {catalogtest.Sorted, writeSorted}} {
		write := func() error {
			var w watch
			n, err := b.write(d, "x.f", o.order, &w, func(*catalog.Entry) {})
			b.rate(o.what, n, &w)
			return err
		}
		if o.order == catalogtest.Walk {
			err = b.memory(peakWrite, true, write)
		} else {
			err = write()
		}
		if err != nil {
			return err
		}
	}
	return b.read(d)
}

// sizes writes the entries with what a listing needs, and whole.
func (b *bench) sizes(d *dir.Dir) error {
	for _, s := range []struct {
		what string
		edit func(e *catalog.Entry)
	}{
		{bytesList, func(e *catalog.Entry) {
			e.CTime, e.Dev, e.Ino, e.XHash, e.CRC, e.Offset, e.HeadLen, e.DataLen = e.MTime, 0, 0, 0, 0, 0, 0, e.Size
		}},
		{bytesAll, func(*catalog.Entry) {}},
	} {
		var w watch
		n, err := b.write(d, "x.f", catalogtest.Sorted, &w, s.edit)
		if err != nil {
			return err
		}
		bytes, err := size(b.dir)
		if err != nil {
			return err
		}
		b.print(s.what, float64(bytes)/float64(n), 0)
	}
	return nil
}

// write writes a files file.
func (b *bench) write(d *dir.Dir, name string, order catalogtest.Order, w *watch, edit func(e *catalog.Entry)) (n int, err error) {
	out, err := catalog.Create(b.ctx, d, name, catalog.Options{})
	if err != nil {
		return 0, err
	}
	n, err = b.generate(order, w, func(es []catalog.Entry) error {
		for i := range es {
			edit(&es[i])
		}
		return out.Add(b.ctx, es)
	})
	if err != nil {
		return n, err
	}
	w.start()
	_, err = out.Seal(b.ctx)
	w.stop()
	return n, err
}

func (b *bench) read(d *dir.Dir) error {
	paths, dirs, err := b.sample(500_000)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what  string
		bytes int64
	}{{lookups64, 64 << 20}, {lookups512, 512 << 20}} {
		r, err := catalog.Open(b.ctx, d, "x.f", catalog.NewCache(b.ctx, c.bytes))
		if err != nil {
			return err
		}
		look := func(path string) error {
			_, ok, err := r.Lookup(b.ctx, path)
			if err == nil && !ok {
				err = fmt.Errorf("%s is not found", path)
			}
			return err
		}
		if c.what == lookups512 { // warm: all blocks are in the cache, and were asked for again
			err = b.walk(r)
			for i := 0; i < len(paths) && err == nil; i++ {
				err = look(paths[i])
			}
		}
		if err == nil {
			err = b.lookups(c.what, paths, look)
		}
		if c.what == lookups64 && err == nil {
			err = b.memory(peakRead, false, func() error {
				return b.firsts(dirs, func(dir string) error {
					es, err := r.List(b.ctx, dir, "", 1)
					if err == nil && len(es) != 1 {
						err = fmt.Errorf("%s has no entry", dir)
					}
					return err
				})
			})
		}
		if err != nil {
			return err
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) walk(r *catalog.Reader) error {
	var w watch
	w.start()
	n := 0
	err := r.Walk(b.ctx, "/", func(catalog.Entry) (bool, error) { n++; return true, nil })
	w.stop()
	b.rate(walking, n, &w)
	return err
}

// find measures a search in many images.
func (b *bench) find(images int) error {
	d, err := dir.Open(b.dir)
	if err != nil {
		return err
	}
	var w watch
	all := b.n
	b.n = all / images
	for i := range images {
		if _, err := b.write(d, fmt.Sprintf("%d.f", i), catalogtest.Sorted, &w, func(e *catalog.Entry) {
			if e.Path == "/lab/run00001/part00/frame_000007.tif" {
				e.Path = fmt.Sprintf("/lab/run00001/part00/frame_000007-needle%d.tif", i)
			}
		}); err != nil {
			return err
		}
	}
	bytes, err := size(b.dir)
	if err != nil {
		return err
	}
	b.print(fmt.Sprintf("%d images of %d entries, MB", images, b.n), float64(bytes)/1e6, 0)
	for _, text := range []string{"needle42", "needle", "frame_000123.tif", "journal_replica", "*.odt", "xq", "/lab/run00001/part00/frame_000123.tif"} {
		if err := b.search(d, images, text); err != nil {
			return err
		}
	}
	return nil
}

// search looks for a pattern in all images, each opened anew, with nothing cached
// but by the operating system.
func (b *bench) search(d *dir.Dir, images int, text string) error {
	p, err := catalog.NewPattern(text, false)
	if err != nil {
		return err
	}
	found := 0
	began, cpu := time.Now(), processors()
	cache := catalog.NewCache(b.ctx, 64<<20)
	for i := range images {
		r, err := catalog.Open(b.ctx, d, fmt.Sprintf("%d.f", i), cache)
		if err != nil {
			return err
		}
		if _, _, err := r.Find(b.ctx, p, "", 0, func(catalog.Entry) (bool, error) { found++; return true, nil }); err != nil {
			return err
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	b.print(fmt.Sprintf("find %s in all, ms (%d found)", text, found), float64(time.Since(began))/1e6, float64(processors()-cpu)/1e6)
	return nil
}
