package controller

import (
	"context"
	"log/slog"
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// explain writes one line for every fence, election and change of in-sync replicas that
// recs make of the image before, with the reason.
func explain(logger *slog.Logger, before *metadata.Image, recs []metadata.Record, why string) {
	for _, rec := range recs {
		switch rec := rec.(type) {
		case *metadata.RegisterBrokerRecord:
			logger.Info("broker registers", "broker", int32(rec.BrokerID), "incarnation", rec.IncarnationID.String(), "fenced", rec.Fenced, "clean", rec.CleanShutdown)
		case *metadata.BrokerChangeRecord:
			explainBroker(logger, rec, why)
		case *metadata.PartitionChangeRecord:
			if t, ok := before.TopicByID(rec.TopicID); ok {
				explainPartition(logger, t, rec, why)
			}
		}
	}
}

func explainBroker(logger *slog.Logger, rec *metadata.BrokerChangeRecord, why string) {
	what := "broker is unfenced"
	switch {
	case rec.OfflineDirs != nil || rec.FullDirs != nil:
		logger.Warn("log directories of a broker change", "broker", int32(rec.BrokerID), "offline", rec.OfflineDirs, "full", rec.FullDirs, "why", why)
		return
	case rec.Fenced:
		what = "broker is fenced"
	case rec.InControlledShutdown:
		what = "broker leaves"
	}
	logger.Info(what, "broker", int32(rec.BrokerID), "epoch", rec.BrokerEpoch, "why", why)
}

func explainPartition(logger *slog.Logger, t *metadata.Topic, rec *metadata.PartitionChangeRecord, why string) {
	p := &t.Partitions[rec.PartitionID]
	isr, elr := p.ISR, p.ELR
	if rec.ISR != nil {
		isr = rec.ISR
	}
	if rec.ELR != nil {
		elr = rec.ELR
	}
	level, what := slog.LevelInfo, "in-sync replicas change"
	switch {
	case rec.Directories != nil && rec.Leader == metadata.NoLeaderChange && rec.ISR == nil:
		level, what = slog.LevelDebug, "replica is placed"
	case rec.Leader == p.Leader && rec.ISR == nil:
		level, what = slog.LevelDebug, "leader begins a new epoch"
	case rec.Leader == ids.NoNode:
		level, what = slog.LevelWarn, "partition has no leader"
	case rec.Leader != metadata.NoLeaderChange && len(p.Replicas) > 1 && !slices.Contains(p.ISR, rec.Leader) && !slices.Contains(p.ELR, rec.Leader):
		level, what = slog.LevelWarn, "leader was not in sync: records may be lost"
	case rec.Leader != metadata.NoLeaderChange:
		what = "leader is elected"
	}
	leader, epoch := p.Leader, p.LeaderEpoch
	if rec.Leader != metadata.NoLeaderChange {
		leader, epoch = rec.Leader, epoch+1
	}
	logger.Log(context.Background(), level, what, "topic", t.Name, "partition", rec.PartitionID, "leader", int32(leader), "before", int32(p.Leader),
		"epoch", int32(epoch), "isr", isr, "elr", elr, "why", why)
}
