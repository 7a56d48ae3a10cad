// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Keeper brings the kernel's routes to what is wanted.
type Keeper struct {
	conn  *rtnl.Conn
	board *announce.Board
}

// NewKeeper returns a keeper for the network namespace of the connection and the attachments in the
// store.
func NewKeeper(conn *rtnl.Conn, s store.Store) *Keeper {
	return &Keeper{conn: conn, board: announce.NewBoard(conn, s)}
}

// Unicast returns the addresses that attachments have each for itself.
func (k *Keeper) Unicast() ([]netip.Addr, error) {
	claims, err := k.board.Keeper().All()
	var all []netip.Addr
	for _, c := range claims {
		all = append(all, c.Unicast...)
	}
	return all, err
}

// Apply brings the summaries of both tables to what is wanted, has every unicast address of an
// attachment announced that none of them covers, withdraws those that one does, and returns what it
// changed. An address is announced at every moment, by a summary or alone: what announces comes before
// what does not any more goes, and stays if that fails. Twice the same is a no-op.
func (k *Keeper) Apply(w Want) (Plan, error) {
	todo, done, err := k.extend(w)
	if err != nil {
		return done, err
	}
	if err := k.delete(todo.Delete, &done); err != nil {
		return done, err
	}
	if !slices.ContainsFunc(done.Delete, func(r rtnl.Route) bool { return r.Type != unix.RTN_UNICAST }) {
		return done, nil
	}
	// An ADD of this moment may have relied on a summary that is gone.
	return done, k.announceUncovered(w, &done)
}

// Extend is the first half of Apply: it takes nothing away.
func (k *Keeper) Extend(w Want) (Plan, error) {
	_, done, err := k.extend(w)
	return done, err
}

func (k *Keeper) extend(w Want) (todo, done Plan, err error) {
	have, err := List(k.conn, w.Table)
	if err != nil {
		return Plan{}, Plan{}, err
	}
	todo = plan(w, have)
	for _, r := range todo.Add {
		if err := k.conn.ReplaceRoute(r); err != nil {
			return todo, done, err
		}
		done.Add = append(done.Add, r)
	}
	return todo, done, k.announceUncovered(w, &done)
}

func (k *Keeper) delete(routes []rtnl.Route, done *Plan) error {
	deleted, err := k.conn.DeleteRoutes(routes...)
	done.Delete = append(done.Delete, deleted...)
	return err
}

// announceUncovered announces alone what no summary is to cover and what is not announced yet.
func (k *Keeper) announceUncovered(w Want, done *Plan) error {
	claims, err := k.board.Keeper().All()
	if err != nil {
		return err
	}
	have, err := List(k.conn, w.Table)
	if err != nil {
		return err
	}
	announced := map[netip.Prefix]bool{}
	for _, r := range have {
		announced[r.Dst] = announced[r.Dst] || r.Type == unix.RTN_UNICAST
	}
	var errs []error
	for a, c := range claims {
		if c.Table == w.Table {
			errs = append(errs, k.announceClaim(w, a, c, announced, done))
		}
	}
	return errors.Join(errs...)
}

func (k *Keeper) announceClaim(w Want, a cni.Attachment, c claim.Claim, announced map[netip.Prefix]bool, done *Plan) error {
	for _, addr := range c.Unicast {
		if w.Covers(addr) || announced[cni.HostPrefix(addr)] {
			continue
		}
		switch err := k.board.Announce(a, addr); {
		case errors.Is(err, announce.ErrNotClaimed), errors.Is(err, unix.ENODEV):
			// Its DEL has run, or its link is gone and DEL will come.
		case err != nil:
			return err
		default:
			done.Add = append(done.Add, rtnl.Route{Dst: cni.HostPrefix(addr), Table: c.Table, Type: unix.RTN_UNICAST,
				Proto: rtnl.ProtoAnnounce, Metric: rtnl.Metric, Link: c.LinkIndex})
		}
	}
	return nil
}
