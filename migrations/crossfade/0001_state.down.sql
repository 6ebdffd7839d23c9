drop table crossfade.certificate, crossfade.daemon, crossfade.quarantine, crossfade.source,
           crossfade.checkpoint, crossfade.migration;
