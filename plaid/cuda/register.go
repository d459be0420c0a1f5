//go:build darwin || linux || windows

package cuda

import "github.com/golbert/golbert/plaid"

func init() { plaid.RegisterBackend("cuda", backend{}) }

type backend struct{}

func (backend) Open(n int) (plaid.Device, error) {
	d, err := Open(n)
	if err != nil {
		return nil, err
	}
	return d, nil
}
