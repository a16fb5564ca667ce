"""Preparation with Apache Beam, for data too large for one machine; needs apache-beam[tfrecord]."""

from collections.abc import Sequence

import apache_beam as beam
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

from data.convert import convert
from data.formats import Listing
from data.local import Job, claim, finish
from videogpt_jax.input.clips import tell_skipped
from videogpt_jax.input.shards import Manifest, load_manifest

_SKIPPED = 'skipped.txt'


class _Convert(beam.DoFn):
  """Converts an item to records; unusable items go to the output 'skipped'."""

  def __init__(self, job: Job):
    self._job = job

  def process(self, item):
    records, problem = convert(self._job.format_name, item, self._job.options)
    if problem:
      yield beam.pvalue.TaggedOutput('skipped', problem)
    yield from records


def run(job: Job, listing: Listing, arguments: Sequence[str]) -> Manifest:
  """Like data.local.run, on the runner in `arguments`. Its workers need this repository."""
  if not claim(job):
    return load_manifest(job.out)
  options = PipelineOptions(list(arguments))
  options.view_as(SetupOptions).save_main_session = False
  lists = []
  with beam.Pipeline(options=options) as pipeline:
    for split in ('train', 'val', 'test'):
      items = [item for item in listing.items if item.split == split]
      if not items:
        continue
      outputs = (
        pipeline
        | f'{split}: list' >> beam.Create(items)
        | f'{split}: spread' >> beam.Reshuffle()
        | f'{split}: convert' >> beam.ParDo(_Convert(job)).with_outputs('skipped', main='records')
      )
      outputs.records | f'{split}: write' >> beam.io.WriteToTFRecord(
        tf.io.gfile.join(job.out, split),
        file_name_suffix='.tfrecord',
        num_shards=-(-len(items) // listing.items_per_shard),
      )
      lists.append(outputs.skipped)
    (
      lists
      | beam.Flatten()
      | 'write skipped'
      >> beam.io.WriteToText(tf.io.gfile.join(job.out, _SKIPPED), shard_name_template='')
    )
  with tf.io.gfile.GFile(tf.io.gfile.join(job.out, _SKIPPED)) as file:
    broken = file.read().splitlines()
  skipped = [*listing.skipped, *broken]
  tell_skipped(job.source, skipped, len(listing.items) - len(broken))
  return finish(job, listing, skipped)
