#!/usr/bin/env bash
# Prepares an AWS account for cluster.yaml, once: a bucket, a role for the head (which starts and ends nodes) and one for
# the workers (which only read and write the bucket). Writes my-cluster.yaml for `ray up`. May be repeated.
#
#   jobs/cluster/aws_setup.sh BUCKET REGION
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: jobs/cluster/aws_setup.sh BUCKET REGION" >&2; exit 2; }
bucket=$1 region=$2
here=$(cd "$(dirname "$0")/../.." && pwd)
image=/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id

account=$(aws sts get-caller-identity --query Account --output text)
ami=$(aws ssm get-parameter --region "$region" --name "$image" --query Parameter.Value --output text)

if ! aws s3api head-bucket --bucket "$bucket" 2>/dev/null; then
  aws s3 mb "s3://$bucket" --region "$region"
fi

for role in raypipe-head raypipe-worker; do
  if ! aws iam get-role --role-name $role >/dev/null 2>&1; then
    aws iam create-role --role-name $role --assume-role-policy-document '{"Version": "2012-10-17", "Statement":
      [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}' >/dev/null
  fi
  aws iam put-role-policy --role-name $role --policy-name bucket --policy-document '{"Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::'"$bucket"'"},
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
    "Resource": "arn:aws:s3:::'"$bucket"'/*"}]}'
  if ! aws iam get-instance-profile --instance-profile-name $role >/dev/null 2>&1; then
    aws iam create-instance-profile --instance-profile-name $role >/dev/null
    aws iam add-role-to-instance-profile --instance-profile-name $role --role-name $role
  fi
done
aws iam attach-role-policy --role-name raypipe-head --policy-arn arn:aws:iam::aws:policy/AmazonEC2FullAccess
aws iam put-role-policy --role-name raypipe-head --policy-name workers --policy-document '{"Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": "iam:PassRole",
  "Resource": "arn:aws:iam::'"$account"':role/raypipe-worker"}]}'

sed -e "s/AMI_ID/$ami/; s/REGION/$region/; s/BUCKET/$bucket/" "$here/cluster.yaml" > my-cluster.yaml
echo "wrote my-cluster.yaml: image $ami in $region; nodes may read and write s3://$bucket"
