#!/usr/bin/env python3
"""Score a network on a data set: python evaluate.py -d data/cityscapes -cfg configs/D3Net_L.yaml

Under mpirun, every process takes its share of the images; the scores are the same to the last bit.
"""

import json
import sys
from pathlib import Path

from command import DONE, Parser, UserError, run
from engine import model_options, protocols


def build_parser() -> Parser:
    parser = Parser(description=__doc__)
    parser.add_argument(
        '-d',
        '--data-dir',
        metavar='DIR',
        help="the data set's folder (default: the config's, else data/<data set>)",
    )
    parser.add_argument('--split', help="of the data set (default: the config's, else val)")
    parser.add_argument(
        '--list', metavar='FILE', help='a file with an image and a label a line, instead'
    )
    parser.add_argument('--limit', type=int, metavar='N', help='only the first N images')
    parser.add_argument('--boundary', action='store_true', help='boundary IoU too')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the scores to this file')
    parser.add_argument(
        '--visualize',
        type=Path,
        metavar='DIR',
        help='write image, truth, prediction and error map of every image',
    )
    parser.add_argument(
        '--save-labels', type=Path, metavar='DIR', help='write predicted class indices'
    )
    parser.add_argument(
        '--format-only',
        type=Path,
        metavar='DIR',
        help='write the files that the test server takes, and no scores; needs no labels',
    )
    model_options.add_options(parser)
    protocols.add_options(parser)
    return parser


def main(args) -> int:
    if args.limit is not None and args.limit < 1:
        raise UserError(f'--limit must be at least 1, not {args.limit}')

    import files
    from engine import config as configs
    from engine import evaluation_outputs, evaluator
    from engine.communicator import joined
    from engine.data import first_samples, open_dataset
    from engine.environment import versions

    with joined() as processes:
        config = configs.load(args.config_file, args.set)
        protocol = protocols.choose(args, config)
        split = args.split or config.get('val_split', 'val')
        dataset = first_samples(open_dataset(config, split, args.data_dir, args.list), args.limit)
        writers = {
            'visualize': evaluation_outputs.pictures,
            'save_labels': evaluation_outputs.class_indices,
            'format_only': evaluation_outputs.submission,
        }
        outputs = []
        for option, writer in writers.items():
            folder = getattr(args, option)
            if folder is not None:
                files.check_writable(folder / 'x')
                outputs.append(writer(dataset, folder))
        if args.json:
            files.check_writable(args.json)

        network = model_options.load(args, config, processes.local_rank)
        counts = None
        if args.format_only is None:
            counts = evaluator.Evaluator(len(dataset.info.classes), args.boundary)
        evaluator.run(network.predictor, dataset, protocol, processes, outputs, counts)
        if counts is None:
            return DONE
        counts.add_up(processes)
        if processes.rank:
            return DONE
        report = counts.report(dataset.info)
        print(evaluator.table(report))
        if args.json:
            report |= {
                'settings': {
                    'config': config.name,
                    'weights': network.weights.name,
                    'sha256': files.sha256_of(network.weights),
                    'dataset': dataset.info.name,
                    'split': dataset.split,
                    'protocol': protocol.describe(),
                    'context': str(network.choice),
                },
                'versions': versions(),
            }
            with files.replacing(args.json) as temporary:
                temporary.write_text(json.dumps(report, indent=2) + '\n')
        return DONE


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
